"""Builds the HNSW graph with faiss or hnswlib and takes it out of them.

With `nearest` the only module that imports these libraries. Distances are
Euclidean: the graph says which items lie near each other, the scorer says which
of them are liked.
"""

from collections.abc import Callable, Iterator
from typing import Any

import faiss
import hnswlib
import numpy as np

from nann.index import flat, nearest
from nann.index.graph import HnswGraph, Level

Progress = Callable[[int], None]

SLIM_EF_CONSTRUCTION = 40
# One neighbor in so many is near in embedding alone; and how much a difference
# in embedding weighs beside one in profile. Chosen on validation users of four
# data sets.
EMBEDDING_SHARE = 4
_EMBEDDING_WEIGHT = 1.5
_ADD_ROWS = 20_000
_EXTRACT_ROWS = 200_000


def build_hnsw(
  embeddings: np.ndarray,
  builder: str,
  num_neighbors: int,
  ef_construction: int,
  start_level: int,
  num_threads: int,
  seed: int,
  progress: Progress = lambda rows: None,
  clock: nearest.Clock | None = None,
) -> HnswGraph:
  """Builds the graph of item embeddings.

  Args:
    embeddings: [I, D] float32.
    builder: "faiss" or "hnswlib".
    num_neighbors: M, links on upper levels; level 0 has twice as many.
    ef_construction: Beam width while building.
    start_level: Level whose rows become the entry points; taken lower where it
      is empty.
    num_threads: Threads; 0: all cores. With one the graph is reproducible.
    seed: Seed of the levels.
    progress: Called with the number of rows after each part that was added.
    clock: Counts what the library takes.

  Raises:
    ValueError: The embeddings are empty, not a matrix, or not finite.
  """
  if embeddings.ndim != 2 or not embeddings.size:
    raise ValueError(
      f"item embeddings have shape {embeddings.shape}, wanted [items, width]"
    )
  if not np.isfinite(embeddings).all():
    row = int(np.argmin(np.isfinite(embeddings).all(axis=1)))
    raise ValueError(f"the embedding of row {row} is not finite; train again")
  builders = {"faiss": _build_faiss, "hnswlib": _build_hnswlib}
  return builders[builder](
    np.ascontiguousarray(embeddings, dtype=np.float32),
    num_neighbors,
    ef_construction,
    start_level,
    num_threads,
    seed,
    progress,
    clock or nearest.Clock(),
  )


def _parts(
  embeddings: np.ndarray, progress: Progress
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields rows and their embeddings, telling the progress."""
  for begin in range(0, len(embeddings), _ADD_ROWS):
    part = embeddings[begin : begin + _ADD_ROWS]
    yield np.arange(begin, begin + len(part)), part
    progress(len(part))


def _build_faiss(
  embeddings: np.ndarray,
  num_neighbors: int,
  ef_construction: int,
  start_level: int,
  num_threads: int,
  seed: int,
  progress: Progress,
  clock: nearest.Clock,
) -> HnswGraph:
  index = _faiss_index(
    embeddings,
    num_neighbors,
    ef_construction,
    num_threads,
    seed,
    progress,
    clock,
  )
  return graph_from_faiss(index, start_level)


def _faiss_index(
  embeddings: np.ndarray,
  num_neighbors: int,
  ef_construction: int,
  num_threads: int,
  seed: int,
  progress: Progress,
  clock: nearest.Clock | None = None,
) -> faiss.IndexHNSWFlat:
  stopwatch = clock or nearest.Clock()
  index: Any = faiss.IndexHNSWFlat(embeddings.shape[1], num_neighbors)
  index.hnsw.efConstruction = ef_construction
  # Not in the stubs that come with faiss.
  index.hnsw.rng = faiss.RandomGenerator(seed)  # type: ignore[attr-defined]

  def add() -> None:
    for _, part in _parts(embeddings, progress):
      stopwatch.call(index.add, part)

  nearest.with_threads(num_threads, add)
  return index


def slim_index(
  vectors: np.ndarray,
  num_links: int,
  num_threads: int,
  seed: int,
  progress: Progress = lambda rows: None,
  clock: nearest.Clock | None = None,
) -> faiss.IndexHNSWFlat:
  """Returns an HNSW index that is quick to build, to look neighbors up in.

  Args:
    vectors: [I, D] float32.
    num_links: M.
    num_threads: Threads; 0: all cores.
    seed: Seed of the levels.
    progress: Called with the number of rows after each part.
    clock: Counts what faiss takes.
  """
  return _faiss_index(
    vectors,
    num_links,
    SLIM_EF_CONSTRUCTION,
    num_threads,
    seed,
    progress,
    clock,
  )


def build_flat(
  embeddings: np.ndarray,
  num_nearest: int,
  max_reversed: int,
  num_links: int,
  num_medoids: int,
  num_threads: int,
  seed: int,
  progress: Progress = lambda rows: None,
  profiles: np.ndarray | None = None,
  clock: nearest.Clock | None = None,
) -> flat.FlatGraph:
  """Builds the graph of policy best_first; see `flat`.

  With profiles, most neighbors are near in embedding and profile together, and
  a few in embedding alone, for items that none of the users likes.

  Args:
    embeddings: [I, D] float32, finite.
    num_nearest: Nearest neighbors of each row.
    max_reversed: Most rows a row is linked back to.
    num_links: M of the slim HNSW graph.
    num_medoids: Rows where walks may begin, at most.
    num_threads: Threads; 0: all cores. With one the graph is reproducible.
    seed: Seed of levels and medoids.
    progress: Called with numbers of rows that add up to `flat_progress`.
    profiles: [I, P] float32, finite: what users think of the items.
    clock: Counts what faiss takes.
  """
  stopwatch = clock or nearest.Clock()
  embeddings = np.ascontiguousarray(embeddings, dtype=np.float32)

  def slim(vectors: np.ndarray) -> faiss.IndexHNSWFlat:
    return slim_index(
      vectors, num_links, num_threads, seed, progress, stopwatch
    )

  def table(
    vectors: np.ndarray, k: int, index: faiss.IndexHNSWFlat
  ) -> np.ndarray:
    return nearest.neighbor_table(
      vectors, k, index, num_threads, progress, stopwatch
    )

  index = slim(embeddings)
  if profiles is None:
    neighbors = table(embeddings, num_nearest, index)
  else:
    near_in_embedding = max(1, num_nearest // EMBEDDING_SHARE)
    first = table(embeddings, near_in_embedding, index)
    del index
    vectors = embeddings_and_profiles(embeddings, profiles)
    index = slim(vectors)
    second = table(vectors, max(1, num_nearest - near_in_embedding), index)
    neighbors = flat.united(first, second)
  return flat.flat_graph(
    neighbors,
    graph_from_faiss(index, 1).levels[0],
    nearest.with_threads(
      num_threads,
      lambda: stopwatch.call(nearest.medoids, embeddings, num_medoids, seed),
    ),
    max_reversed,
  )


def flat_progress(num_rows: int, with_profiles: bool) -> int:
  """Returns what the progress of `build_flat` adds up to."""
  return (4 if with_profiles else 2) * num_rows


def embeddings_and_profiles(
  embeddings: np.ndarray, profiles: np.ndarray
) -> np.ndarray:
  """Returns [I, D + P] float32: both, the embeddings weighing more."""
  parts = [
    _EMBEDDING_WEIGHT * _of_unit_deviation(embeddings),
    _of_unit_deviation(profiles),
  ]
  return np.concatenate(parts, axis=1)


def _of_unit_deviation(vectors: np.ndarray) -> np.ndarray:
  """Returns the vectors over the deviation of all their numbers."""
  deviation = float(vectors.std())
  return vectors / np.float32(deviation or 1.0)


def graph_from_faiss(index: faiss.IndexHNSW, start_level: int) -> HnswGraph:
  """Takes the graph out of a faiss HNSW index.

  Source: faiss impl/HNSW.h: levels[i] counts the levels of item i (base = 1),
  neighbors[offsets[i] + cum_nneighbor_per_level[l]] begins its list on level l,
  which is padded with -1.
  """
  hnsw: Any = index.hnsw
  num_levels = faiss.vector_to_array(hnsw.levels)
  offsets = faiss.vector_to_array(hnsw.offsets).astype(np.int64)
  neighbors = faiss.vector_to_array(hnsw.neighbors)
  cumulative = faiss.vector_to_array(hnsw.cum_nneighbor_per_level)
  start_level = _highest_level(num_levels, start_level)
  levels = []
  for level in range(start_level):
    rows = np.flatnonzero(num_levels > level)
    first, last = int(cumulative[level]), int(cumulative[level + 1])

    def lists(
      part: np.ndarray, first: int = first, last: int = last
    ) -> np.ndarray:
      return neighbors[offsets[part][:, None] + np.arange(first, last)]

    levels.append(_compress(len(num_levels), rows, lists))
  return HnswGraph(
    tuple(levels), _entry_points(num_levels, start_level, hnsw.entry_point)
  )


def _build_hnswlib(
  embeddings: np.ndarray,
  num_neighbors: int,
  ef_construction: int,
  start_level: int,
  num_threads: int,
  seed: int,
  progress: Progress,
  clock: nearest.Clock,
) -> HnswGraph:
  index = hnswlib.Index(space="l2", dim=embeddings.shape[1])
  index.init_index(
    max_elements=len(embeddings),
    M=num_neighbors,
    ef_construction=ef_construction,
    random_seed=seed,
  )
  for rows, part in _parts(embeddings, progress):
    clock.call(index.add_items, part, rows, num_threads=num_threads or -1)
  return graph_from_hnswlib(index, start_level)


def graph_from_hnswlib(index: hnswlib.Index, start_level: int) -> HnswGraph:
  """Takes the graph out of an hnswlib index whose labels are 0 .. I - 1.

  Source: hnswlib hnswalg.h: an element of level 0 is a list (uint16 count,
  padding, uint32 ids), its vector and its label; the lists of upper levels
  follow each other in an element's link list.
  """
  # What pickling gives is the only public way to the links.
  (state,) = index.__getstate__()
  number = int(state["cur_element_count"])
  element_of = np.empty(number, dtype=np.int64)  # Element by row.
  element_of[state["label_lookup_external"]] = state["label_lookup_internal"]
  row_of = np.argsort(element_of)  # Row by element.
  level_0 = state["data_level0"].view(np.uint8)
  level_0 = level_0.reshape(-1, int(state["size_data_per_element"]))
  element_levels = state["element_levels"][:number].astype(np.int64)
  num_levels = element_levels[element_of] + 1
  start_level = _highest_level(num_levels, start_level)
  upper = state["link_lists"].view(np.uint8)
  upper_bytes = int(state["size_links_per_element"])
  upper_begin = np.cumsum(element_levels * upper_bytes)
  upper_begin -= element_levels * upper_bytes

  def raw_lists(level: int, elements: np.ndarray) -> np.ndarray:
    if level == 0:
      width = 4 + 4 * int(state["max_M0"])
      raw = level_0[elements, :width]
    else:
      begins = upper_begin[elements] + (level - 1) * upper_bytes
      raw = upper[begins[:, None] + np.arange(upper_bytes)]
    return np.ascontiguousarray(raw).view(np.uint32)

  levels = []
  for level in range(start_level):

    def lists(rows: np.ndarray, level: int = level) -> np.ndarray:
      raw = raw_lists(level, element_of[rows])
      counts = raw[:, :1] & 0xFFFF
      inside = np.arange(raw.shape[1] - 1) < counts
      return np.where(inside, row_of[np.where(inside, raw[:, 1:], 0)], -1)

    rows = np.flatnonzero(num_levels > level)
    levels.append(_compress(number, rows, lists))
  entry = int(row_of[int(state["enterpoint_node"])])
  return HnswGraph(tuple(levels), _entry_points(num_levels, start_level, entry))


def _highest_level(num_levels: np.ndarray, start_level: int) -> int:
  """Returns the highest level up to `start_level` with rows, at least 1."""
  return max(1, min(start_level, int(num_levels.max()) - 1))


def _entry_points(
  num_levels: np.ndarray, start_level: int, entry_point: int
) -> np.ndarray:
  points = np.flatnonzero(num_levels > start_level)
  # A catalogue so small that nothing is above level 0.
  return (points if len(points) else np.array([entry_point])).astype(np.int32)


def _compress(
  num_rows: int,
  rows: np.ndarray,
  lists: Callable[[np.ndarray], np.ndarray],
) -> Level:
  """Drops the -1 that pad neighbor lists, a block of rows at a time.

  Args:
    num_rows: I.
    rows: [n] the rows that have a list.
    lists: Gives the padded lists [m, width] of some rows.
  """
  counts = np.zeros(num_rows, dtype=np.int64)
  parts: list[np.ndarray] = [np.zeros(0, dtype=np.int32)]
  for begin in range(0, len(rows), _EXTRACT_ROWS):
    part = rows[begin : begin + _EXTRACT_ROWS]
    padded = lists(part)
    inside = padded >= 0
    counts[part] = inside.sum(axis=1)
    parts.append(padded[inside].astype(np.int32))
  row_splits = np.concatenate([[0], np.cumsum(counts)])
  return Level(np.concatenate(parts), row_splits)
