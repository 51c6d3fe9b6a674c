import math
import pathlib

import numpy as np
import pytest

from nann import config
from nann.data_provider import dataset, prepare
from nann.retrieval import baselines, evaluation, metrics

ANSWERS = np.array([[5, 3, 9], [1, 2, 0], [7, 8, 9]])
TARGETS = np.array([3, 9, 9])


def test_hits_count_the_first_k() -> None:
  assert metrics.hits(ANSWERS, TARGETS, 1).tolist() == [False] * 3
  assert metrics.hits(ANSWERS, TARGETS, 2).tolist() == [True, False, False]
  assert metrics.hits(ANSWERS, TARGETS, 3).tolist() == [True, False, True]


def test_share_has_a_standard_error() -> None:
  got = metrics.share(np.array([1, 0, 1, 0]))
  assert got.mean == 0.5
  assert got.standard_error == pytest.approx(math.sqrt(1 / 3 / 4))
  assert str(got) == "0.5000 ± 0.2887"
  assert math.isnan(metrics.share(np.array([])).mean)
  assert metrics.share(np.array([1])).standard_error == 0.0


def test_coverage_is_the_share_of_the_exact_answer() -> None:
  exact = np.array([[5, 3, 1], [1, 2, 3], [9, 8, 7]])
  got = metrics.coverage(ANSWERS, exact, 3)
  np.testing.assert_allclose(got, [2 / 3, 2 / 3, 1.0])
  assert metrics.coverage(ANSWERS, exact, 1).tolist() == [1.0, 1.0, 0.0]


def test_f1_and_delta() -> None:
  assert metrics.f1(0.5, 0.25) == pytest.approx(1 / 3)
  assert metrics.f1(0.0, 0.0) == 0.0
  assert metrics.delta(0.256, 0.249) == pytest.approx(0.027, abs=1e-3)
  assert math.isnan(metrics.delta(0.0, 0.0))


def test_evaluations_are_described_per_query_and_step() -> None:
  got = metrics.evaluations(np.array([[2, 4, 0, 0], [2, 0, 0, 0]]), 100)
  assert got["mean"] == 4.0
  assert got["per_step"] == [2.0, 2.0]
  assert got["scored_fraction"] == 0.04


def test_recall_row_has_both_kinds_of_targets() -> None:
  row = evaluation.recall(
    "m", ANSWERS, TARGETS, np.array([True, False, True]), 3
  )
  assert row.all_targets.mean == pytest.approx(2 / 3)
  assert row.novel_targets.mean == 1.0
  assert row.novel_targets.count == 2
  assert row.precision == pytest.approx(2 / 9)


def test_agreement_compares_on_the_same_users() -> None:
  exact = np.array([[3, 5, 9], [9, 2, 1], [7, 8, 9]])
  row = evaluation.agreement(ANSWERS, exact, TARGETS, 3)
  assert row.recall_all.mean == 1.0
  assert row.recall_retrieval.mean == pytest.approx(2 / 3)
  assert row.delta == pytest.approx(1 / 3)
  assert row.coverage_min == pytest.approx(2 / 3)


def test_missing_answers_become_id_0() -> None:
  rows = np.array([[1, 0, -1]])
  assert evaluation.to_item_ids(rows, np.array([7, 9])).tolist() == [[9, 7, 0]]


class TestBaselines:
  NUM_ITEMS = 30

  def world(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 12, 40)
    items = rng.integers(1, self.NUM_ITEMS - 4, lengths.sum())
    histories = rng.integers(0, self.NUM_ITEMS + 1, (9, 6))
    histories = -np.sort(-histories, axis=1)  # Padding last.
    return items, np.concatenate([[0], np.cumsum(lengths)]), histories

  def slow_scores(self, items, splits, histories) -> np.ndarray:  # type: ignore
    """Cosine of binary item vectors, summed over the distinct history."""
    matrix = np.zeros((len(splits) - 1, self.NUM_ITEMS + 1))
    for user in range(len(splits) - 1):
      matrix[user, items[splits[user] : splits[user + 1]]] = 1.0
    norm = np.maximum(np.linalg.norm(matrix, axis=0), 1.0)
    cosine = matrix.T @ matrix / norm / norm[:, None]
    scores = np.array([cosine[np.unique(h[h > 0])].sum(0) for h in histories])
    return scores[:, 1:]

  @pytest.mark.parametrize("dtype", [np.int32, np.int64])
  def test_sequences_are_left_as_they_are(self, dtype: type) -> None:
    items = np.array([3, 1, 3, 2, 1], dtype)
    splits = np.array([0, 3, 5], dtype)
    baselines.Baselines(items, splits, 3)
    np.testing.assert_array_equal(items, [3, 1, 3, 2, 1])
    np.testing.assert_array_equal(splits, [0, 3, 5])

  @pytest.mark.parametrize("seed", range(10))
  def test_item_item_is_the_sum_of_cosines(self, seed: int) -> None:
    items, splits, histories = self.world(seed)
    made = baselines.Baselines(items, splits, self.NUM_ITEMS)
    answers = made.item_item(histories, 10)
    scores = self.slow_scores(items, splits, histories)
    for user, history in enumerate(histories):
      got = answers["item-item cosine"][user]
      best = np.sort(scores[user])[::-1][:10]
      np.testing.assert_allclose(scores[user][got - 1], best, atol=1e-5)
      distinct = set(history[history > 0].tolist())
      assert not distinct & set(answers["item-item, no history"][user])
      first = answers["history first"][user].tolist()
      newest = list(dict.fromkeys(history[::-1][history[::-1] > 0].tolist()))
      assert first[: len(newest)] == newest[:10]
      assert len(set(first)) == 10

  def test_most_popular_is_the_most_frequent(self) -> None:
    made = baselines.Baselines(
      np.array([2, 2, 2, 5, 5, 1]), np.array([0, 3, 6]), 6
    )
    assert made.most_popular(2, 3).tolist() == [[2, 5, 1]] * 2

  @pytest.mark.parametrize(
    ("name", "floors"),
    [
      (
        "checkins_kl",
        {
          "most popular": (0.317, 0.309),
          "item-item cosine": (0.623, 0.473),
          "item-item, no history": (0.286, 0.488),
          "history first": (0.691, 0.473),
        },
      ),
      (
        "reviews_100k",
        {
          "most popular": (0.099, 0.099),
          "item-item cosine": (0.141, 0.141),
          "item-item, no history": (0.146, 0.146),
        },
      ),
    ],
  )
  def test_floors_of_real_data(
    self, shared: pathlib.Path, tmp_path: pathlib.Path, name: str, floors: dict
  ) -> None:
    settings = config.DataSettings(
      input=(str(shared / "data" / f"{name}.csv.gz"),),
      test_users=str(shared / "data" / f"{name}.test_users.txt"),
    )
    prepare.prepare(settings, tmp_path, seed=0)
    data = dataset.load(tmp_path)
    held_out, sequences = data.held_out("test"), data.train_sequences()
    made = baselines.Baselines(
      sequences.item_ids, sequences.row_splits, data.catalogue.num_items
    )
    answers = {
      "most popular": made.most_popular(len(held_out), 200),
      **made.item_item(held_out.histories, 200),
    }
    for method, (of_all, of_novel) in floors.items():
      row = evaluation.recall(
        method, answers[method], held_out.targets, held_out.novel(), 200
      )
      assert row.all_targets.mean == pytest.approx(of_all, abs=0.01)
      assert row.novel_targets.mean == pytest.approx(of_novel, abs=0.01)
