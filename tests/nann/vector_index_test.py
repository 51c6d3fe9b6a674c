"""The search by codes: the definition, exact answers, instruction sets."""

import numpy as np
import pytest

import nann
from nann import _core
from nann.index.graph import HnswGraph, Level
from nann.vector_index import VectorIndex
from tests import oracle
from tests.conftest import run_python


def complete_graph(num_rows: int) -> HnswGraph:
  """Everybody knows everybody: the search meets all rows."""
  values = np.tile(np.arange(num_rows, dtype=np.int32), num_rows)
  splits = num_rows * np.arange(num_rows + 1, dtype=np.int64)
  return HnswGraph((Level(values, splits),), np.array([0], np.int32))


def exact_scores(
  vectors: np.ndarray, queries: np.ndarray, metric: str
) -> np.ndarray:
  wide = vectors.astype(np.float64)
  if metric == "ip":
    return queries @ wide.T
  return -((queries[:, None] - wide) ** 2).sum(axis=-1)


@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("width", [1, 3, 16, 64, 65, 130])
def test_answers_are_exact_where_the_beam_holds_all(
  width: int, metric: str
) -> None:
  rng = np.random.default_rng(width)
  vectors = rng.normal(size=(90, width)).astype(np.float32)
  queries = rng.normal(size=(5, width)).astype(np.float32)
  index = VectorIndex(complete_graph(90), vectors, metric)
  found = index.search(queries, 10, ef=90, num_threads=2)
  scores = exact_scores(vectors, queries, metric)
  expected = -np.sort(-scores, axis=1)[:, :10]
  np.testing.assert_allclose(found.scores, expected, rtol=1e-5, atol=1e-4)
  of_rows = np.take_along_axis(scores, found.rows.astype(np.int64), axis=1)
  np.testing.assert_allclose(found.scores, of_rows, rtol=1e-5, atol=1e-4)
  assert (found.total_scored == 90).all()


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_codes_rank_nearly_as_the_vectors_do(metric: str) -> None:
  rng = np.random.default_rng(7)
  vectors = rng.normal(size=(400, 48)).astype(np.float32)
  queries = rng.normal(size=(20, 48)).astype(np.float32)
  index = VectorIndex(complete_graph(400), vectors, metric)
  found = index.search(queries, 20, ef=20)
  order = np.argsort(-exact_scores(vectors, queries, metric), axis=1)[:, :20]
  hits = [np.isin(*pair).mean() for pair in zip(order, found.rows, strict=True)]
  assert np.mean(hits) > 0.97


@pytest.mark.parametrize("seed", range(60))
def test_walk_is_the_definition_where_codes_are_exact(seed: int) -> None:
  rng = np.random.default_rng(seed)
  num_rows, degree = int(rng.integers(1, 80)), int(rng.integers(1, 6))
  neighbors = rng.integers(0, num_rows, (num_rows, degree)).astype(np.int32)
  # A list ends at its first -1.
  ends = rng.integers(0, degree + 1, num_rows)
  neighbors[np.arange(degree) >= ends[:, None]] = -1
  vectors = rng.integers(0, 128, (num_rows, 2)).astype(np.float32)
  query = rng.integers(0, 128, 2).astype(np.float32)
  entries = rng.integers(0, num_rows, 3).astype(np.int32)
  k = int(rng.integers(1, 9))
  ef = k + k // 5 + int(rng.integers(0, 9))
  offset = np.zeros(2, np.float32)
  codes = np.zeros((num_rows, 64), np.uint8)
  _core.encode(vectors, offset, 1.0, codes)
  index = _core.VectorIndex(
    neighbors, codes, offset, 1.0, vectors, entries, "l2"
  )
  rows, scores, num_scored = index.search(query[None], k, ef, 1)
  expected = oracle.best_first_search(
    [row[row >= 0].tolist() for row in neighbors],
    [],
    entries.tolist(),
    lambda rows: -((vectors[rows] - query) ** 2).sum(axis=1),
    ef,
    2,
    10**9,
    10**9,
    k,
  )
  present = rows[0] >= 0
  assert rows[0][present].tolist() == expected.rows
  assert scores[0][present].tolist() == expected.scores
  assert num_scored[0, 0] == sum(expected.num_scored)


def test_short_beam_expands_less_and_still_gives_k() -> None:
  rng = np.random.default_rng(3)
  vectors = rng.normal(size=(2000, 16)).astype(np.float32)
  near = np.argsort(exact_scores(vectors, vectors, "l2"), axis=1)[:, -13:]
  graph = nann.Graph.from_edges(near.astype(np.int32))
  index = graph.vector_index(vectors)
  short = index.search(vectors[:9], 100, ef=5)
  long = index.search(vectors[:9], 100, ef=100)
  assert (short.rows >= 0).all()
  assert (short.total_scored < long.total_scored).all()


def test_fewer_rows_than_k_are_padded() -> None:
  vectors = np.array([[0.0], [1.0]], np.float32)
  index = VectorIndex(complete_graph(2), vectors, "l2")
  found = index.search(np.array([0.9], np.float32), 4)
  assert found.rows.tolist() == [1, 0, -1, -1]
  assert found.scores[2:].tolist() == [-np.inf, -np.inf]


def test_equal_vectors_rank_by_row() -> None:
  vectors = np.ones((30, 4), np.float32)
  index = VectorIndex(complete_graph(30), vectors, "ip")
  assert index.search(vectors[0], 3).rows.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"queries": np.ones((2, 3))}, r"queries have shape \(2, 3\), wanted"),
    ({"queries": np.full(4, np.nan)}, "queries are not finite"),
    ({"k": 0}, "k is 0 and ef is 0, wanted at least 1"),
    ({"ef": -1}, "k is 2 and ef is -1, wanted at least 1"),
    ({"num_threads": 0}, "num_threads is 0, wanted at least 1"),
  ],
)
def test_wrong_arguments_are_refused(arguments: dict, message: str) -> None:
  index = VectorIndex(complete_graph(3), np.eye(3, 4), "l2")
  with pytest.raises(ValueError, match=message):
    index.search(**{"queries": np.ones(4), "k": 2, **arguments})


@pytest.mark.parametrize(
  ("vectors", "metric", "message"),
  [
    (np.ones((2, 4)), "l2", r"shape \(2, 4\), wanted \[3, width\]"),
    (np.ones((3, 4)), "cosine", "metric is 'cosine', wanted l2 or ip"),
    ([[1.0], [np.inf], [0.0]], "l2", "the vector of row 1 is not finite"),
  ],
)
def test_wrong_vectors_are_refused(vectors, metric, message: str) -> None:
  with pytest.raises(ValueError, match=message):
    VectorIndex(complete_graph(3), vectors, metric)


_PROGRAM = """
import numpy as np, nann
from nann import _core
rng = np.random.default_rng(0)
vectors = rng.normal(size=(500, 70)).astype(np.float32)
edges = rng.integers(0, 500, (500, 12))
for metric in ("l2", "ip"):
  index = nann.Graph.from_edges(edges).vector_index(vectors, metric)
  found = index.search(vectors[:50] + 0.1, 20, ef=30)
  print(found.rows.tolist(), found.total_scored.tolist())
print(_core.instruction_set())
"""


def test_instruction_sets_agree() -> None:
  answers = {}
  for name in ("avx512", "avx2", "baseline"):
    done = run_python("-c", _PROGRAM, NANN_INSTRUCTION_SET=name)
    assert done.returncode == 0, done.stderr
    *lines, used = done.stdout.splitlines()
    answers[used] = lines
  assert all(lines == answers["baseline"] for lines in answers.values())
