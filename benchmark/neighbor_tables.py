"""The nearest items of every item: which library finds them fastest.

They are what the graph of policy best_first is made of, and most of what
building it takes. Ours is a slim HNSW of faiss that every row is looked up in
(nann/index/nearest.py); the others are hnswlib and usearch, used alike, and
faiss's NN-descent, which improves a random table. Each climbs a ladder of
effort; what a recall of the table costs lies between two rungs. Two threads.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import faiss
import harness
import hnswlib
import numpy as np

from nann import config, console
from nann.index import build, nearest

_THREADS = 2
_EFFORTS = (16, 32, 64, 128)
_ROUNDS = (3, 5, 8, 12)
_RECALLS = (0.90, 0.95)

# Seconds, and rows [I, K] or more, themselves among them perhaps.
Rung = tuple[float, np.ndarray]


def main() -> None:
  """Runs the benchmark."""
  parser = harness.parser(__doc__ or "")
  parser.add_argument("--vectors", required=True, help=".npy file [I, D]")
  parser.add_argument("--num-vectors", type=int, help="the first so many")
  parser.add_argument("--k", type=int, default=12, help="neighbors of an item")
  parser.add_argument("--sample", type=int, default=2000, help="for recall")
  arguments = parser.parse_args()
  whole = np.load(arguments.vectors, mmap_mode="r")
  vectors = np.ascontiguousarray(whole[: arguments.num_vectors], np.float32)
  sample = np.random.default_rng(0).permutation(len(vectors))
  sample = sample[: arguments.sample]
  wanted = _others(
    sample, nearest.nearest_rows(vectors[sample], vectors, arguments.k + 1)
  )[:, : arguments.k]
  figures: dict[str, Any] = {
    "num_vectors": len(vectors),
    "k": arguments.k,
    "threads": _THREADS,
  }
  for name, rungs in _BUILDERS.items():
    points = []
    for seconds, table in rungs(vectors, arguments.k):
      found = _others(sample, table[sample])[:, : arguments.k]
      points.append((seconds, _recall(found, wanted)))
      console.say(f"{name}: {seconds:.1f} s, recall {points[-1][1]:.3f}")
    figures[f"{name}_ladder"] = points
    for recall in _RECALLS:
      figures[f"{name}_s_at_{100 * recall:g}"] = _seconds_at(points, recall)
  harness.report("neighbor tables", figures, arguments.json)


def _others(rows: np.ndarray, found: np.ndarray) -> np.ndarray:
  """Moves each row's own number to the end of what was found for it."""
  own = np.argsort(found == rows[:, None], axis=1, kind="stable")
  return np.take_along_axis(found, own, axis=1)


def _recall(found: np.ndarray, wanted: np.ndarray) -> float:
  both = (found[:, :, None] == wanted[:, None, :]).any(axis=1)
  return float(both.mean())


def _seconds_at(
  points: list[tuple[float, float]], recall: float
) -> float | None:
  """Returns the seconds between two rungs; None: no rung is so good."""
  above = next((i for i, p in enumerate(points) if p[1] >= recall), None)
  if above is None:
    return None
  if above == 0:
    return points[0][0]
  (less_s, less), (more_s, more) = points[above - 1], points[above]
  return less_s + (recall - less) / (more - less) * (more_s - less_s)


def _climb(
  begin: float, look_up: Callable[[int], np.ndarray]
) -> Iterator[Rung]:
  """Yields a rung for every effort; building is paid in each."""
  building = time.perf_counter() - begin
  for effort in _EFFORTS:
    start = time.perf_counter()
    table = look_up(effort)
    yield building + time.perf_counter() - start, table


def _faiss(vectors: np.ndarray, k: int) -> Iterator[Rung]:
  begin = time.perf_counter()
  index = build.slim_index(
    vectors, config.IndexSettings().flat_links, _THREADS, 0
  )

  def look_up(effort: int) -> np.ndarray:
    index.hnsw.efSearch = effort
    return nearest.with_threads(
      _THREADS, lambda: index.search(vectors, k + 1)[1]
    )

  yield from _climb(begin, look_up)


def _hnswlib(vectors: np.ndarray, k: int) -> Iterator[Rung]:
  begin = time.perf_counter()
  index = hnswlib.Index("l2", vectors.shape[1])
  index.init_index(
    len(vectors),
    M=config.IndexSettings().flat_links,
    ef_construction=build.SLIM_EF_CONSTRUCTION,
  )
  index.add_items(vectors, num_threads=_THREADS)

  def look_up(effort: int) -> np.ndarray:
    index.set_ef(max(effort, k + 1))
    return index.knn_query(vectors, k + 1, num_threads=_THREADS)[0].astype(
      np.int64
    )

  yield from _climb(begin, look_up)


def _usearch(vectors: np.ndarray, k: int) -> Iterator[Rung]:
  from usearch.index import Index

  begin = time.perf_counter()
  index = Index(
    ndim=vectors.shape[1],
    metric="l2sq",
    dtype="f32",
    connectivity=2 * config.IndexSettings().flat_links,
    expansion_add=build.SLIM_EF_CONSTRUCTION,
  )
  index.add(np.arange(len(vectors)), vectors, threads=_THREADS)

  def look_up(effort: int) -> np.ndarray:
    index.expansion_search = effort
    found: Any = index.search(vectors, k + 1, threads=_THREADS)
    return found.keys.astype(np.int64)

  yield from _climb(begin, look_up)


def _nn_descent(vectors: np.ndarray, k: int) -> Iterator[Rung]:
  for rounds in _ROUNDS:
    index: Any = faiss.IndexNNDescentFlat(vectors.shape[1], 2 * k)
    index.nndescent.L = 2 * k + 10
    index.nndescent.iter = rounds
    begin = time.perf_counter()
    nearest.with_threads(_THREADS, lambda made=index: made.add(vectors))
    seconds = time.perf_counter() - begin
    graph = faiss.vector_to_array(index.nndescent.final_graph)
    yield seconds, graph.reshape(len(vectors), -1).astype(np.int64)


_BUILDERS: dict[str, Callable[[np.ndarray, int], Iterator[Rung]]] = {
  "faiss": _faiss,
  "hnswlib": _hnswlib,
  "usearch": _usearch,
  "nn_descent": _nn_descent,
}


if __name__ == "__main__":
  main()
