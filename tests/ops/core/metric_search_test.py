"""Searches with a built-in metric, on every instruction set."""

import pathlib

import numpy as np
import pytest

from nann import _core
from tests import conftest, worlds
from tests.ops.core import batches

INSTRUCTION_SETS = ["baseline", "avx2", "avx512"]

# Widths around those of the vector registers, and none at all.
WIDTHS = [0, 1, 3, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100, 128]


def exact(
  vectors: np.ndarray, queries: np.ndarray, metric: str
) -> np.ndarray:  # [B, I]
  if metric == "ip":
    return queries @ vectors.T
  return -((queries[:, None] - vectors[None]) ** 2).sum(-1)


def search_all(
  vectors: np.ndarray, queries: np.ndarray, metric: str, k: int
) -> tuple[np.ndarray, np.ndarray]:
  """Searches a complete graph with a beam that holds all of it."""
  num_rows = len(vectors)
  graph = batches.core_graph(worlds.complete_graph(num_rows))
  policy = _core.BestFirstPolicy(num_rows, 4, 1000, 10**6)
  expand = np.zeros((len(queries), 1), np.int32)
  rows, scores, num_scored = graph.search_vectors(
    _core.VectorScorer(vectors, queries, metric),
    batches.batch(policy, k, expand),
    2,
  )
  assert (num_scored.sum(1) == num_rows).all()
  return rows, scores


@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("width", WIDTHS)
def test_full_beam_is_exhaustive_search(width: int, metric: str) -> None:
  rng = np.random.default_rng(width)
  # Small whole numbers: every sum is exact in float32.
  vectors = rng.integers(-9, 10, (70, width)).astype(np.float32)
  queries = rng.integers(-9, 10, (20, width)).astype(np.float32)
  wanted = exact(vectors, queries, metric)
  order = np.lexsort(
    (np.broadcast_to(np.arange(70), wanted.shape), -wanted), axis=1
  )[:, :30]
  rows, scores = search_all(vectors, queries, metric, 30)
  np.testing.assert_array_equal(rows, order)
  np.testing.assert_array_equal(
    scores, np.take_along_axis(wanted, order, axis=1)
  )


@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("width", WIDTHS[1:])
def test_scores_are_as_exact_as_float32(width: int, metric: str) -> None:
  rng = np.random.default_rng(width)
  vectors = rng.normal(size=(70, width)).astype(np.float32)
  queries = rng.normal(size=(20, width)).astype(np.float32)
  wanted = exact(vectors.astype(float), queries.astype(float), metric)
  rows, scores = search_all(vectors, queries, metric, 70)
  np.testing.assert_allclose(
    scores, np.take_along_axis(wanted, rows, axis=1), rtol=1e-5, atol=1e-4
  )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 3])
def test_vector_without_a_score_is_refused(place: int, bad: float) -> None:
  vectors = np.ones((5, 4), np.float32)
  vectors[place, 2] = bad
  queries = np.ones((1, 4), np.float32)
  # The distance of two infinities is not a number.
  queries[0, 2] = bad
  vectors[:, 2] = np.where(np.arange(5) == place, bad, 0)
  graph = batches.core_graph(worlds.complete_graph(5))
  scorer = _core.VectorScorer(vectors, queries, "l2")
  policy = _core.BestFirstPolicy(5, 1, 100, 100)
  with pytest.raises(ValueError, match=r"score of row \d is not a number"):
    graph.search_vectors(scorer, batches.batch(policy, 2, [[0]]), 1)


PROGRAM = """
import sys
import numpy as np
from nann import _core
from tests.ops.core import metric_search_test as test
rng = np.random.default_rng(5)
vectors = rng.normal(size=(200, 45)).astype(np.float32)
queries = rng.normal(size=(30, 45)).astype(np.float32)
answers = {"name": np.array(_core.instruction_set())}
for metric in ["l2", "ip"]:
  rows, scores = test.search_all(vectors, queries, metric, 20)
  answers[metric + "_rows"], answers[metric + "_scores"] = rows, scores
np.savez(sys.argv[1], **answers)
"""


def test_instruction_sets_agree(tmp_path: pathlib.Path) -> None:
  answers = {}
  for wanted in INSTRUCTION_SETS:
    done = conftest.run_python(
      "-c",
      PROGRAM,
      str(tmp_path / f"{wanted}.npz"),
      NANN_INSTRUCTION_SET=wanted,
    )
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / f"{wanted}.npz")
    # A processor without the set takes the best that it has.
    answers[str(found["name"])] = found
  assert "baseline" in answers
  for found in answers.values():
    for metric in ["l2", "ip"]:
      one, other = answers["baseline"], found
      np.testing.assert_array_equal(
        one[f"{metric}_rows"], other[f"{metric}_rows"]
      )
      np.testing.assert_allclose(
        one[f"{metric}_scores"], other[f"{metric}_scores"], rtol=1e-5, atol=1e-5
      )
