"""The original's answers on its own model: same items, same evaluations."""

import pathlib
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from nann import model_store
from nann.data_provider import dataset
from nann.index import storage
from nann.model.scorer import History
from nann.retrieval import brute_force, reference, tensors
from nann.retrieval import result as results
from nann.retrieval.items import ItemArrays
from nann.retrieval.retriever import Retriever
from tests import oracle

WIDTHS, HOPS, K = (400, 200, 100), (3, 1, 1), 200
NUM_USERS = 200


@pytest.fixture(scope="module")
def data(original: pathlib.Path) -> dataset.PreparedData:
  return dataset.load(original / "data")


@pytest.fixture(scope="module")
def retriever(original: pathlib.Path) -> Retriever:
  return load_retriever(original)


def load_retriever(
  original: pathlib.Path, state_dtype: str = "float32"
) -> Retriever:
  """Returns the original's model with its items and its graph."""
  table = dataset.load(original / "data").catalogue.category_table()
  item_ids = np.load(original / "embeddings" / "item_ids.npy")
  embeddings = np.load(original / "embeddings" / "item_embs.npy")
  return Retriever(
    model_store.load(original / "checkpoint").scorer,
    ItemArrays(item_ids, table[item_ids], embeddings),
    storage.load(original / "index")[0],
    table,
    state_dtype,
  )


@pytest.fixture(scope="module")
def exact(
  retriever: Retriever, data: dataset.PreparedData
) -> results.SearchResult:
  histories = data.held_out("test").histories[:NUM_USERS]
  found = brute_force.exact_search(retriever, histories, 5000)
  return results.concatenate(list(found))


def test_exact_scores_are_the_originals(
  original: pathlib.Path, exact: results.SearchResult
) -> None:
  expected = np.load(original / "scores20.npy")
  got = np.empty_like(expected)
  np.put_along_axis(got, exact.rows[:20], exact.scores[:20], axis=1)
  np.testing.assert_allclose(got, expected, atol=1e-4)


def same_items_but_for_ties(
  got: np.ndarray, expected: np.ndarray, scores: np.ndarray
) -> bool:
  """Sets are equal, or differ only in items that score alike at the edge."""
  odd = np.setxor1d(got, expected)
  if not len(odd):
    return True
  edge = scores[expected].min()
  return bool(np.abs(scores[odd] - edge).max() < 1e-4)


def scores_by_row(exact: results.SearchResult, user: int) -> np.ndarray:
  scores = np.empty(exact.rows.shape[1], np.float32)
  scores[exact.rows[user]] = exact.scores[user]
  return scores


def by_op(retriever: Retriever, histories: np.ndarray) -> results.SearchResult:
  policy = results.PaperPolicy(WIDTHS, HOPS)
  return results.concatenate(list(retriever.search(histories, policy, K)))


def by_reference(
  retriever: Retriever, histories: np.ndarray
) -> results.SearchResult:
  """The search in stock ops, with the scorer's parts as they are."""
  assert retriever.index is not None
  parts, items = retriever.scorer.parts(), retriever.items
  item_state = parts.item_state(None, tf.constant(items.embeddings))
  category_table = tf.constant(retriever.category_table)
  answers = []
  for begin in range(0, len(histories), 25):
    part = tf.constant(histories[begin : begin + 25])
    history = History(part, tf.gather(category_table, part))
    embedding = retriever.scorer.history_embedding(history)
    nothing = tf.zeros([len(part), 0], tf.int32)
    found = reference.beam_search(
      tensors.graph_tensors(retriever.index.hnsw),
      parts.score,
      parts.user_state(history, embedding),
      item_state,
      nothing,
      nothing,
      tensors.policy_tensors(results.PaperPolicy(WIDTHS, HOPS)),
      K,
    )
    answers.append(results.SearchResult(*(x.numpy() for x in found)))
  return results.concatenate(answers)


@pytest.mark.parametrize("search", [by_op, by_reference])
def test_search_gives_the_originals_answers(
  original: pathlib.Path,
  retriever: Retriever,
  data: dataset.PreparedData,
  exact: results.SearchResult,
  search: Callable[[Retriever, np.ndarray], results.SearchResult],
) -> None:
  histories = data.held_out("test").histories[:NUM_USERS]
  found = search(retriever, histories)
  expected = np.load(original / "retrieval.npz")
  np.testing.assert_array_equal(found.num_scored, expected["num_scored"])
  rows = retriever.items.rows_of(expected["ids"])
  for user in range(NUM_USERS):
    scores = scores_by_row(exact, user)
    assert same_items_but_for_ties(found.rows[user], rows[user], scores)


def test_oracle_gives_the_originals_answers(
  original: pathlib.Path, retriever: Retriever, exact: results.SearchResult
) -> None:
  graph = storage.load(original / "index")[0].hnsw
  lists = [
    [level.neighbors(row).tolist() for row in range(graph.num_rows)]
    for level in graph.levels
  ]
  expected = np.load(original / "retrieval.npz")
  rows = retriever.items.rows_of(expected["ids"])
  for user in range(0, NUM_USERS, 10):
    scores = scores_by_row(exact, user)
    found = oracle.paper_search(
      lists,
      graph.entry_points.tolist(),
      lambda rows, scores=scores: scores[rows],
      WIDTHS,
      HOPS,
      K,
    )
    assert found.num_scored == expected["num_scored"][user].tolist()
    assert same_items_but_for_ties(np.array(found.rows), rows[user], scores)


def test_history_entries_find_more_with_fewer_evaluations(
  retriever: Retriever,
  data: dataset.PreparedData,
  exact: results.SearchResult,
) -> None:
  histories = data.held_out("test").histories[:NUM_USERS]

  def measure(policy: results.Policy) -> tuple[float, float]:
    found = results.concatenate(list(retriever.search(histories, policy, K)))
    share = np.mean(
      [
        len(np.intersect1d(a, b)) / K
        for a, b in zip(found.rows, exact.rows[:, :K], strict=True)
      ]
    )
    return float(share), float(found.total_scored.mean())

  paper = measure(results.PaperPolicy(WIDTHS, HOPS))
  best_first = measure(results.BestFirstPolicy(250, 32, 64, 100_000))
  assert best_first[0] > paper[0]
  assert best_first[1] < paper[1]
