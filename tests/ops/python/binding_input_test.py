"""Graphs and questions that nann._core refuses, and what it says then."""

from typing import Any

import numpy as np
import pytest

from nann import _core
from tests.ops.core import batches
from tests.ops.python.binding_test import POLICY, as_numbers, small_graph

PAPER = _core.PaperPolicy([2, 2], [1, 1])


def graph(
  values: Any = (1, 0), row_splits: Any = (0, 1, 2), entry_points: Any = (0,)
) -> _core.Graph:
  return _core.Graph([(values, row_splits)], entry_points)


def test_lists_are_as_good_as_arrays() -> None:
  made = graph([1, 0], [0, 1, 2], [0])
  assert made.num_rows == 2
  rows, _, _ = made.search(as_numbers, batches.batch(PAPER, 2, [[]]), 1)
  assert rows.tolist() == [[1, 0]]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"values": [1, 2]}, r"level 0: neighbor 1 is 2, outside \[0, 2\)"),
    ({"values": [1, -1]}, r"neighbor 1 is -1, outside \[0, 2\)"),
    ({"values": [1, 2**31]}, r"values\[1\] = 2147483648 is no int32"),
    ({"values": [1, 2**32]}, r"values\[1\] = 4294967296 is no int32"),
    ({"values": [0.5, 1]}, "values is of type float64, wanted int32"),
    ({"values": [[1, 0]]}, "values has 2 dimensions, wanted 1"),
    ({"row_splits": [1, 1, 2]}, "goes from 1 to 2, wanted 0 to 2"),
    ({"row_splits": [0, 1, 3]}, "goes from 0 to 3, wanted 0 to 2"),
    ({"row_splits": [0, 1, 1]}, "goes from 0 to 1, wanted 0 to 2"),
    ({"row_splits": [0, 3, 2]}, "decreases from 3 to 2 after row 1"),
    ({"row_splits": [0, -1, 2]}, "decreases from 0 to -1 after row 0"),
    ({"row_splits": []}, "no row"),
    ({"values": [], "row_splits": [0]}, "no row"),
    ({"row_splits": 2}, "row_splits has 0 dimensions, wanted 1"),
    ({"entry_points": []}, "no entry point"),
    ({"entry_points": [2]}, r"entry point 0 is 2, outside \[0, 2\)"),
    ({"entry_points": [0, -1]}, r"entry point 1 is -1, outside \[0, 2\)"),
    ({"entry_points": [1, 0, 1]}, "entry point 2 is 1 once more"),
    ({"entry_points": [None]}, "entry_points is of type object"),
    (
      {"entry_points": np.array([2**63 + 1], np.uint64)},
      r"entry_points\[0\] = .* is no int32",
    ),
    (
      {"row_splits": np.array([0, 1, 2**64 - 1], np.uint64)},
      r"row_splits\[2\] = .* is no int64",
    ),
  ],
)
def test_faulty_graph_is_refused(change: dict[str, Any], message: str) -> None:
  with pytest.raises(ValueError, match=message):
    graph(**change)


def test_graph_without_levels_is_refused() -> None:
  with pytest.raises(ValueError, match="no level"):
    _core.Graph([], [0])


def test_levels_of_different_sizes_are_refused() -> None:
  level, longer = ([1, 0], [0, 1, 2]), ([1, 0], [0, 1, 2, 2])
  with pytest.raises(
    ValueError, match="level 1: row_splits has 4 entries, wanted 3"
  ):
    _core.Graph([level, longer], [0])


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"k": 0}, "k is 0, wanted at least 1"),
    ({"k": -1}, "k is -1, wanted at least 1"),
    ({"k": 0, "expand": np.zeros((0, 1), np.int32)}, "k is 0, wanted"),
    ({"expand": [[0, 5]]}, r"expand\[1\] = 5 is outside \[0, 5\)"),
    ({"expand": [[2**32]]}, r"expand\[0\] = 4294967296 is no int32"),
    ({"expand": [0]}, r"expand has shape \(1,\), wanted a row for each query"),
    ({"only_score": [[9]]}, r"only_score\[0\] = 9 is outside \[0, 5\)"),
    ({"only_score": [[0], [0]]}, r"only_score has shape \(2, 1\), wanted"),
    ({"denied": [[-1, 7]]}, r"denied\[1\] = 7 is outside \[0, 5\)"),
    ({"denied": [[0.5]]}, "denied is of type float64, wanted int32"),
    ({"allowed": [[1, 1]]}, "allowed has 2 bytes a query, wanted 1"),
    ({"allowed": [[1], [1]]}, r"allowed has shape \(2, 1\), wanted a row"),
    ({"allowed": [[256]]}, r"allowed\[0\] = 256 is no uint8"),
    ({"allowed": [[True]]}, "allowed is of type bool, wanted uint8"),
  ],
)
def test_faulty_question_is_refused(
  change: dict[str, Any], message: str
) -> None:
  question: dict[str, Any] = {"k": 1, "expand": [[0]]}
  with pytest.raises(ValueError, match=message):
    small_graph().search(
      as_numbers, batches.batch(POLICY, **{**question, **change}), 1
    )


@pytest.mark.parametrize(
  ("widths", "hops", "message"),
  [
    ([2], [1, 1], "widths has 1 entries, wanted 2"),
    ([2, 2, 2], [1, 1], "widths has 3 entries, wanted 2"),
    ([2, 2], [1], "hops has 1 entries, wanted 2"),
    ([0, 2], [1, 1], r"widths\[0\] is 0, wanted at least 1"),
    ([2, -3], [1, 1], r"widths\[1\] is -3, wanted at least 1"),
    ([2, 2], [0, 1], r"hops\[0\] is 0, wanted at least 1"),
    ([2, 2], [1, 2], "hops ends with 2, wanted 1"),
    ([2, 2], [2**31 - 1, 1], "hops add up to 2147483648, wanted at most"),
  ],
)
def test_faulty_paper_policy_is_refused(
  widths: list[int], hops: list[int], message: str
) -> None:
  questions = batches.batch(_core.PaperPolicy(widths, hops), 1, [[0]])
  with pytest.raises(ValueError, match=message):
    small_graph().search(as_numbers, questions, 1)


@pytest.mark.parametrize(
  "name", ["ef", "width", "max_steps", "max_evaluations"]
)
@pytest.mark.parametrize("value", [0, -1, -(2**63)])
def test_faulty_best_first_policy_is_refused(name: str, value: int) -> None:
  limits = {"ef": 1, "width": 1, "max_steps": 1, "max_evaluations": 1}
  policy = _core.BestFirstPolicy(**{**limits, name: value})
  with pytest.raises(ValueError, match=f"{name} is {value}, wanted at least 1"):
    small_graph().search(as_numbers, batches.batch(policy, 1, [[0]]), 1)


@pytest.mark.parametrize("num_threads", [0, -1])
def test_no_threads_are_refused(num_threads: int) -> None:
  with pytest.raises(
    ValueError, match=f"num_threads is {num_threads}, wanted at least 1"
  ):
    small_graph().search(
      as_numbers, batches.batch(POLICY, 1, [[0]]), num_threads
    )


@pytest.mark.parametrize("k", [10**15, 2**62, 2**63 - 1])
def test_more_answers_than_memory_are_refused(k: int) -> None:
  with pytest.raises((MemoryError, ValueError)):
    small_graph().search(as_numbers, batches.batch(POLICY, k, [[0]] * 3), 1)


def test_no_question_has_no_answer() -> None:
  none = np.zeros((0, 1), np.int32)
  for policy in [POLICY, PAPER]:
    answer = small_graph().search(as_numbers, batches.batch(policy, 3, none), 4)
    assert [part.shape for part in answer] == [(0, 3), (0, 3), (0, 0)]


def test_question_without_entries_has_no_answer() -> None:
  rows, scores, num_scored = small_graph().search(
    as_numbers, batches.batch(POLICY, 2, [[-1]]), 1
  )
  assert rows.tolist() == [[-1, -1]]
  assert (scores == -np.inf).all()
  assert num_scored.tolist() == [[0]]


@pytest.mark.parametrize(
  ("shape", "queries", "metric", "message"),
  [
    ((5, 2), (1, 3), "l2", "queries are 3 wide, wanted 2"),
    ((5,), (1, 3), "l2", "two dimensions"),
    ((5, 2), (1, 2), "cosine", "metric is 'cosine', wanted l2 or ip"),
    ((4, 2), (1, 2), "l2", "there are 4 vectors, wanted 5"),
    ((5, 2), (2, 2), "ip", "there are 2 query vectors for 1 queries"),
  ],
)
def test_faulty_vectors_are_refused(
  shape: tuple[int, ...], queries: tuple[int, ...], metric: str, message: str
) -> None:
  def search() -> None:
    scorer = _core.VectorScorer(np.zeros(shape), np.zeros(queries), metric)
    questions = batches.batch(POLICY, 1, [[0]])
    small_graph().search_vectors(scorer, questions, 1)

  with pytest.raises(ValueError, match=message):
    search()
