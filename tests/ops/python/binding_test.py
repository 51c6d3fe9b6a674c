"""What nann._core does with threads, exceptions and input that is wrong."""

import concurrent.futures
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from nann import _core
from nann.index.graph import HnswGraph, Level
from tests import filters, worlds
from tests.ops.core import batches

POLICY = _core.BestFirstPolicy(
  ef=20, width=3, max_steps=100, max_evaluations=1000
)


def as_numbers(rows: np.ndarray, query: int) -> np.ndarray:
  del query
  return rows.astype(np.float32)


def small_graph() -> _core.Graph:
  return batches.core_graph(worlds.complete_graph(5))


# ---- Threads ----


def busy_search() -> tuple[_core.Graph, Callable, _core.Batch]:
  """A graph of two levels with 400 rows, and 200 questions."""
  rng = np.random.default_rng(1)
  num_rows, num_queries = 400, 200
  splits = np.arange(num_rows + 1, dtype=np.int64) * 8
  levels = tuple(
    Level(rng.integers(0, num_rows, 8 * num_rows).astype(np.int32), splits)
    for _ in range(2)
  )
  graph = HnswGraph(levels, np.arange(0, num_rows, 40, dtype=np.int32))
  scores = rng.integers(0, 50, (num_queries, num_rows)).astype(np.float32)
  drawn = filters.random_filter(rng, num_queries, num_rows)
  questions = batches.batch(
    POLICY,
    10,
    rng.integers(0, num_rows, (num_queries, 5)).astype(np.int32),
    allowed=drawn.allowed,
    denied=drawn.denied,
  )
  return (
    batches.core_graph(graph),
    lambda rows, query: scores[query][rows],
    questions,
  )


def assert_same(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> None:
  for a, b in zip(one, other, strict=True):
    np.testing.assert_array_equal(a, b)


def test_many_threads_answer_like_one() -> None:
  graph, score, questions = busy_search()
  expected = graph.search(score, questions, 1)
  for _ in range(3):
    assert_same(graph.search(score, questions, 16), expected)


def test_one_graph_serves_many_python_threads() -> None:
  graph, score, questions = busy_search()
  expected = graph.search(score, questions, 1)
  with concurrent.futures.ThreadPoolExecutor(16) as pool:
    answers = list(
      pool.map(lambda _: graph.search(score, questions, 2), range(32))
    )
  for answer in answers:
    assert_same(answer, expected)


def test_scorer_may_search_the_same_graph() -> None:
  graph = small_graph()

  def score(rows: np.ndarray, query: int) -> np.ndarray:
    inner, _, _ = graph.search(as_numbers, batches.batch(POLICY, 1, [[0]]), 1)
    assert inner.tolist() == [[4]]
    return as_numbers(rows, query)

  rows, _, _ = graph.search(score, batches.batch(POLICY, 1, [[0]] * 4), 2)
  assert rows.tolist() == [[4]] * 4


def test_signal_ends_a_long_batch() -> None:
  num_rows = 300
  graph = batches.core_graph(worlds.complete_graph(num_rows))
  everything = _core.BestFirstPolicy(num_rows, 1, 1000, 1000)
  questions = batches.batch(everything, 1, np.zeros((100_000, 1), np.int32))
  vectors = np.zeros((num_rows, 16), np.float32)
  scorer = _core.VectorScorer(vectors, np.zeros((100_000, 16)), "l2")

  class AlarmError(Exception):
    pass

  def interrupt(*_: object) -> None:
    raise AlarmError

  before = signal.signal(signal.SIGALRM, interrupt)
  signal.setitimer(signal.ITIMER_REAL, 0.2)
  begin = time.monotonic()
  try:
    with pytest.raises(AlarmError):
      graph.search_vectors(scorer, questions, 2)
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
  assert time.monotonic() - begin < 5


# ---- Exceptions of the scorer ----


class OwnError(Exception):
  """An exception with more than a message."""

  def __init__(self, number: int) -> None:
    super().__init__(f"number {number}")
    self.number = number


@pytest.mark.parametrize("num_threads", [1, 8])
@pytest.mark.parametrize(
  "error", [OwnError(7), KeyboardInterrupt("stop"), SystemExit(3)]
)
def test_exception_of_the_scorer_comes_through(
  error: BaseException, num_threads: int
) -> None:
  def fails_on_the_third_call(rows: np.ndarray, query: int) -> np.ndarray:
    if query == 3:
      raise error
    return as_numbers(rows, query)

  questions = batches.batch(POLICY, 1, [[0]] * 40)
  with pytest.raises(type(error)) as caught:
    small_graph().search(fails_on_the_third_call, questions, num_threads)
  assert caught.value is error
  names = [frame.name for frame in traceback.extract_tb(caught.tb)]
  assert "fails_on_the_third_call" in names


def test_every_thread_may_fail_at_once() -> None:
  def fails(rows: np.ndarray, query: int) -> np.ndarray:
    raise OwnError(query)

  for _ in range(20):
    with pytest.raises(OwnError, match=r"number \d+"):
      small_graph().search(fails, batches.batch(POLICY, 1, [[0]] * 64), 16)


def test_search_goes_on_after_a_failure() -> None:
  graph = small_graph()
  questions = batches.batch(POLICY, 2, [[0]])
  with pytest.raises(ZeroDivisionError):
    graph.search(lambda rows, query: 1 / 0, questions, 1)
  rows, _, _ = graph.search(as_numbers, questions, 1)
  assert rows.tolist() == [[4, 3]]


class Unconvertible:
  def __array__(self, *_: object, **__: object) -> np.ndarray:
    raise OwnError(5)


def test_exception_of_a_conversion_comes_through() -> None:
  with pytest.raises(OwnError, match="number 5"):
    small_graph().search(
      lambda *_: Unconvertible(), batches.batch(POLICY, 1, [[0]]), 1
    )


@pytest.mark.parametrize(
  ("given", "message"),
  [
    (None, "gave object of shape ()"),
    ({}, "gave object of shape ()"),
    ("1.5", "gave <U3 of shape ()"),
    (["1.5"], r"gave <U3 of shape \(1,\)"),
    ([1j], r"gave complex128 of shape \(1,\)"),
    ([], r"gave float64 of shape \(0,\)"),
    ([1.0, 2.0], r"gave float64 of shape \(2,\), wanted one number for each"),
    ([[1.0]], r"gave float64 of shape \(1, 1\)"),
    (1.0, "gave float64 of shape ()"),
    ([None], r"gave object of shape \(1,\)"),
    ([[1.0], [1.0, 2.0]], "inhomogeneous"),
  ],
)
def test_scores_of_the_wrong_kind_are_refused(given: Any, message: str) -> None:
  with pytest.raises(ValueError, match=message):
    small_graph().search(
      lambda *_: given, batches.batch(POLICY, 1, [[0]] * 4), 2
    )


@pytest.mark.parametrize(
  "dtype", ["f2", "f4", ">f4", "f8", "i1", "u2", "i8", "?"]
)
def test_scores_may_be_any_numbers(dtype: str) -> None:
  rows, _, _ = small_graph().search(
    lambda rows, _: (rows == 2).astype(dtype),
    batches.batch(POLICY, 2, [[0]]),
    1,
  )
  assert rows.tolist() == [[2, 0]]


def test_scorer_may_keep_and_change_its_rows() -> None:
  kept = []

  def score(rows: np.ndarray, query: int) -> np.ndarray:
    kept.append(rows)
    scores = as_numbers(rows, query)
    rows[:] = 1_000_000
    return scores

  rows, _, _ = small_graph().search(score, batches.batch(POLICY, 5, [[0]]), 1)
  assert rows.tolist() == [[4, 3, 2, 1, 0]]
  assert sum(len(rows) for rows in kept) == 5
