import numpy as np
import pytest

from nann.retrieval import answering, brute_force, cost_model, tuning
from nann.retrieval import result as results
from nann.retrieval.answering import Plan
from nann.retrieval.retriever import Retriever
from tests.nann.retrieval.retriever_test import (
  BEST_FIRST,
  NUM_ITEMS,
  PAPER,
  allowed_bits,
  exact,
  histories,
  make,
  search,
)

CHEAP = cost_model.CostModel(evaluations=20.0)
DEAR = cost_model.CostModel(evaluations=1e6)


@pytest.fixture(scope="module")
def retriever() -> Retriever:
  return make()


def answer(
  retriever: Retriever, plan: Plan, users: np.ndarray, **given: np.ndarray
) -> results.SearchResult:
  parts = answering.answer(retriever, plan, users, 9, **given)  # type: ignore[arg-type]
  return results.concatenate(list(parts))


@pytest.mark.parametrize(
  ("mode", "cost", "is_scan"),
  [
    ("graph", DEAR, False),
    ("scan", CHEAP, True),
    ("auto", CHEAP, False),
    ("auto", DEAR, True),
  ],
)
def test_mode_decides_who_answers(
  retriever: Retriever, mode: str, cost: cost_model.CostModel, is_scan: bool
) -> None:
  users = histories(5)
  found = answer(retriever, Plan(mode, BEST_FIRST, cost), users)
  other = (
    exact(retriever, users, 9)
    if is_scan
    else search(retriever, users, BEST_FIRST, 9)
  )
  np.testing.assert_array_equal(found.rows, other.rows)
  assert (found.total_scored == NUM_ITEMS).all() == is_scan


def test_narrow_filters_are_scanned_and_wide_ones_walked(
  retriever: Retriever,
) -> None:
  users = histories(70)
  bits = np.concatenate([allowed_bits(0.02, 35), allowed_bits(0.9, 35)])
  order = np.random.default_rng(0).permutation(70)
  bits = bits[order]
  narrow = order < 35
  plan = Plan("auto", BEST_FIRST, CHEAP)
  found = answer(retriever, plan, users, allowed=bits)
  counts = np.unpackbits(bits, axis=1).sum(axis=1)
  assert (found.total_scored == counts)[narrow].all()
  full = results.concatenate(
    list(brute_force.exact_search(retriever, users, 9, allowed=bits))
  )
  np.testing.assert_array_equal(found.rows[narrow], full.rows[narrow])
  walked = results.concatenate(
    list(retriever.search(users, BEST_FIRST, 9, allowed=bits))
  )
  np.testing.assert_array_equal(found.rows[~narrow], walked.rows[~narrow])


def test_more_answers_than_items_are_cut_by_both(
  retriever: Retriever,
) -> None:
  users, bits = histories(2), allowed_bits(0.9, 2)
  bits[0] = allowed_bits(0.02, 1)  # One is scanned, one is walked.
  plan = Plan("auto", BEST_FIRST, CHEAP)
  parts = answering.answer(retriever, plan, users, NUM_ITEMS + 5, allowed=bits)
  found = results.concatenate(list(parts))
  assert found.rows.shape == (2, NUM_ITEMS)


def test_excluded_history_is_excluded_by_both(retriever: Retriever) -> None:
  users = histories(6)
  for mode in ("graph", "scan"):
    found = answer(
      retriever, Plan(mode, BEST_FIRST, CHEAP, exclude_history=True), users
    )
    ids = retriever.items.item_ids[found.rows]
    assert not any(np.isin(a, b).any() for a, b in zip(ids, users, strict=True))


@pytest.mark.parametrize("selectivity", [0.0, 1e-4, 0.01, 0.3, 1.0])
def test_cost_of_a_walk_grows_as_the_filter_narrows(
  selectivity: float,
) -> None:
  cost = cost_model.CostModel(evaluations=600)
  assert cost.walk(1_000_000, selectivity) >= cost.walk(1_000_000, 1.0)
  assert cost.scan(1_000_000, selectivity) == 1_000_000 * selectivity


def test_cost_model_walks_large_catalogues_and_scans_small_ones() -> None:
  cost = cost_model.CostModel(evaluations=600)
  assert cost.prefers_scan(500)
  assert not cost.prefers_scan(100_000)
  assert cost.prefers_scan(100_000, 0.001)
  assert cost_model.untuned(ef=250, k=400).evaluations == 1200


class TestTuning:
  def test_cheapest_is_the_first_rung_that_reaches_the_target(self) -> None:
    def run(policy: results.Policy) -> tuning.Point:
      assert isinstance(policy, results.BestFirstPolicy)
      coverage = min(1.0, policy.ef / 1000 + policy.width / 1000)
      scored = np.full(4, policy.ef * policy.width)
      nothing = np.zeros((4, 0), np.int32)
      return tuning.Point(policy, np.full(4, coverage), scored, nothing)

    ladders = [
      [results.BestFirstPolicy(ef, width, 9, 9) for ef in (100, 500, 900)]
      for width in (10, 20)
    ]
    best, points = tuning.cheapest(ladders, run, 0.5)
    assert best is not None
    assert best.policy == results.BestFirstPolicy(500, 10, 9, 9)
    assert len(points) == 4
    best, points = tuning.cheapest(ladders, run, 0.99)
    assert best is None
    assert len(points) == 6

  def test_measured_point_is_what_the_search_gives(
    self, retriever: Retriever
  ) -> None:
    users = histories(8)
    full = exact(retriever, users, 20)
    for policy in (PAPER, BEST_FIRST):
      point = tuning.measure(retriever, policy, users, full.rows)
      found = search(retriever, users, policy, 20)
      np.testing.assert_array_equal(point.rows, found.rows)
      shared = [
        len(np.intersect1d(a, b)) / 20
        for a, b in zip(found.rows, full.rows, strict=True)
      ]
      np.testing.assert_allclose(point.coverage, shared)

  def test_ladders_fit_the_graph(self) -> None:
    for ladder in tuning.paper_policies(50, (400, 200, 100), (3, 1, 1), 1):
      for policy in ladder:
        assert isinstance(policy, results.PaperPolicy)
        assert len(policy.widths) == 2
        assert policy.widths[0] >= 50
