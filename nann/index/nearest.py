"""Nearest items, by faiss: neighbor tables, representatives, single lookups.

Like `build`, the place where graph libraries are used.
"""

import time
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np

Progress = Callable[[int], None]

# Up to here the neighbors are exact: at 64 numbers an item, half a minute on
# two cores.
_EXACT_ITEMS = 100_000
_BLOCK_ROWS = 4096
_TRAINING_POINTS_PER_MEDOID = 256


class Clock:
  """Counts what the libraries take of a build.

  Attributes:
    seconds: So far.
  """

  def __init__(self) -> None:
    self.seconds = 0.0

  def call(
    self, function: Callable[..., Any], *args: Any, **kwargs: Any
  ) -> Any:
    """Calls a function of a library."""
    begin = time.perf_counter()
    try:
      return function(*args, **kwargs)
    finally:
      self.seconds += time.perf_counter() - begin


def with_threads(num_threads: int, run: Callable[[], Any]) -> Any:
  """Runs something with so many faiss threads; 0: as many as there are."""
  before = faiss.omp_get_max_threads()
  faiss.omp_set_num_threads(num_threads or before)
  try:
    return run()
  finally:
    faiss.omp_set_num_threads(before)


def nearest_rows(
  queries: np.ndarray, embeddings: np.ndarray, k: int
) -> np.ndarray:
  """Returns [n, k] int64: the rows nearest to each query, exactly.

  Args:
    queries: [n, D] float32.
    embeddings: [I, D] float32.
    k: At most I.
  """
  _, rows = faiss.knn(
    np.ascontiguousarray(queries, np.float32),
    np.ascontiguousarray(embeddings, np.float32),
    k,
  )
  return np.asarray(rows)


def neighbor_table(
  embeddings: np.ndarray,
  k: int,
  index: faiss.IndexHNSWFlat,
  num_threads: int,
  progress: Progress = lambda rows: None,
  clock: Clock | None = None,
) -> np.ndarray:
  """Returns [I, min(k, I - 1)] int64: each row's nearest other rows.

  Exact for small catalogues; for large ones looked up in the HNSW index.
  Nearest first; -1 where the index found fewer.

  Args:
    embeddings: [I, D] float32.
    k: Neighbors of a row.
    index: HNSW index of the same rows.
    num_threads: Threads; 0: all cores.
    progress: Called with the number of rows of each block.
    clock: Counts what faiss takes.
  """
  clock = clock or Clock()
  number = len(embeddings)
  k = min(k, number - 1)
  table = np.empty((number, k), dtype=np.int64)
  index.hnsw.efSearch = max(32, 4 * k)

  def fill() -> None:
    for begin in range(0, number, _BLOCK_ROWS):
      part = embeddings[begin : begin + _BLOCK_ROWS]
      if number <= _EXACT_ITEMS:
        found = clock.call(nearest_rows, part, embeddings, k + 1)
      else:
        found = clock.call(index.search, part, k + 1)[1]
      table[begin : begin + len(part)] = without_own(found, begin)
      progress(len(part))

  if k:
    with_threads(num_threads, fill)
  return table


def without_own(found: np.ndarray, first: int) -> np.ndarray:
  """Returns [n, k] rows of [n, k + 1]: a row finds itself, unless k others are
  equal to it.

  Args:
    found: [n, k + 1] int64, nearest first.
    first: Row of the first; the others follow.
  """
  own = np.arange(first, first + len(found))[:, None]
  is_past_own = np.cumsum(found == own, axis=1)[:, :-1] > 0
  return np.where(is_past_own, found[:, 1:], found[:, :-1])


def medoids(embeddings: np.ndarray, number: int, seed: int) -> np.ndarray:
  """Returns int32 rows, ascending: the items in the middle of k-means clusters.

  Args:
    embeddings: [I, D] float32.
    number: Clusters; the rows may be fewer.
    seed: Seed of the sample and of the first centers.
  """
  if len(embeddings) <= number:
    return np.arange(len(embeddings), dtype=np.int32)
  # faiss warns where there are fewer points than it likes.
  kmeans = faiss.Kmeans(
    embeddings.shape[1],
    number,
    niter=10,
    seed=seed,
    min_points_per_centroid=1,
    max_points_per_centroid=_TRAINING_POINTS_PER_MEDOID,
  )
  kmeans.train(np.ascontiguousarray(embeddings, np.float32))
  centers = np.asarray(kmeans.centroids)
  rows = nearest_rows(centers, embeddings, 1)[:, 0]
  return np.unique(rows).astype(np.int32)
