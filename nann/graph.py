"""The search as a library: a graph, any scorer, no TensorFlow.

  graph = nann.Graph.from_faiss(index)
  found = graph.search(score_fn, k=100, entries=history_rows)

`score_fn` is any function from rows to scores: NumPy, ONNX Runtime, PyTorch,
JAX, TensorFlow. It is asked once per hop about all rows of that hop.
"""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from nann import _core, graph_sources, refine, search_arguments
from nann.index import storage
from nann.index.graph import HnswGraph, Index
from nann.retrieval.result import SearchResult
from nann.vector_index import VectorIndex

# (rows [n] int32) -> scores [n], or with the number of the query behind.
ScoreFunction = Callable[..., npt.ArrayLike]

_Searcher = Callable[
  [_core.Graph, _core.Batch], tuple[np.ndarray, np.ndarray, np.ndarray]
]

# Without entries: the walk through the upper levels keeps so many rows and
# takes so many hops on each. Cheap beside the search on level 0.
_DESCENT_WIDTH = 4
_DESCENT_HOPS = 4


class Graph:
  """Items and their neighbors, ready to be searched by any thread."""

  def __init__(self, graph: HnswGraph) -> None:
    """Takes a graph; see the `from_` methods for other sources.

    Raises:
      ValueError: The graph cannot be walked.
    """
    levels = [(level.values, level.row_splits) for level in graph.levels]
    self._graph = graph
    self._core = _core.Graph(levels, graph.entry_points)
    self._upper: _core.Graph | None = None
    if len(levels) > 1:
      self._upper = _core.Graph(levels[1:], graph.entry_points)

  @classmethod
  def from_faiss(cls, index: Any) -> "Graph":
    """Takes the graph, all levels, out of a faiss.IndexHNSW of any storage.

    Rows are faiss's sequential ids. The vectors stay behind.

    Raises:
      ValueError: The index is of another kind, such as IndexIDMap, or empty.
    """
    return cls(graph_sources.from_faiss(index))

  @classmethod
  def from_hnswlib(cls, index: Any) -> "Graph":
    """Takes the graph, all levels, out of an hnswlib.Index.

    Rows are the labels, which must be 0 .. I - 1.

    Raises:
      ValueError: The index has other labels, or is empty.
    """
    return cls(graph_sources.from_hnswlib(index))

  @classmethod
  def from_edges(
    cls,
    *levels: search_arguments.NeighborLists,
    entry_points: npt.ArrayLike | None = None,
  ) -> "Graph":
    """Makes a graph from neighbor lists.

    Args:
      *levels: Levels 0, 1, ...; mostly there is one. Each is a list of lists of
        rows, or a matrix [I, degree] of rows padded with -1, or a tuple of
        values [E] and row_splits [I + 1].
      entry_points: [P] rows where a search without entries begins; with several
        levels, the rows of the level above the last. None, with one level: 32
        rows spread evenly.

    Raises:
      ValueError: The lists do not make a graph, or entry points are missing.
    """
    return cls(graph_sources.from_edges(levels, entry_points))

  @classmethod
  def load(
    cls, folder: str | pathlib.Path, policy: str = "best_first"
  ) -> "Graph":
    """Reads an index folder, as `--job-type build_index` or `save` writes it.

    Args:
      folder: The folder.
      policy: What the graph is for: with "best_first" the flat graph is taken
        where the folder has one, with "paper" the levels.

    Raises:
      FileNotFoundError: A file is missing.
      ValueError: A file is truncated, foreign, or does not fit the others.
    """
    search_arguments.check_policy(policy)
    index, _ = storage.load(pathlib.Path(folder))
    is_flat = policy == "best_first" and index.flat is not None
    graph = index.flat if is_flat else index.hnsw
    assert graph is not None
    return cls(graph)

  def save(self, folder: str | pathlib.Path) -> None:
    """Writes an index folder whole, in place of the one that was there."""
    facts = {"num_rows": self.num_rows}
    index = Index(self._graph, None)
    storage.save(pathlib.Path(folder), index, {}, facts)

  @property
  def num_rows(self) -> int:
    """I, how many items the graph joins."""
    return self._graph.num_rows

  @property
  def num_levels(self) -> int:
    """Levels with neighbor lists; the entry points lie on the next one."""
    return len(self._graph.levels)

  @property
  def entry_points(self) -> np.ndarray:
    """[P] int32 rows where a search without entries begins."""
    return self._graph.entry_points

  def search(
    self,
    score_fn: ScoreFunction,
    k: int,
    policy: str = "best_first",
    *,
    entries: npt.ArrayLike | None = None,
    only_score: npt.ArrayLike | None = None,
    num_queries: int | None = None,
    ef: int | None = None,
    width: int | None = None,
    max_steps: int | None = None,
    max_evaluations: int | None = None,
    widths: npt.ArrayLike | None = None,
    hops: npt.ArrayLike | None = None,
    filter: npt.ArrayLike | None = None,
    exclude: npt.ArrayLike | None = None,
    num_threads: int = 1,
  ) -> SearchResult:
    """Finds the k rows that a scorer likes best.

    One query or a batch: it is a batch if `entries` has a list for each query
    (a matrix [B, F] padded with -1, or a list of lists), or if `num_queries` is
    given. For one query the scorer is called as score_fn(rows) and the answer
    has no batch dimension; for a batch as score_fn(rows, query), query being
    its number. `only_score`, `filter` and `exclude` hold for all queries, or
    have one more dimension and hold for one each.

    A scorer is called under Python's lock, which the walk itself does not hold:
    threads help as far as the scorer releases the lock, as NumPy, ONNX Runtime
    and TensorFlow do. With several threads it must be ready to be called by
    them at once.

    Args:
      score_fn: rows [n] int32, all different, to scores [n]; higher is better.
      k: Answers wanted.
      policy: "best_first", or "paper", level by level.
      entries: Rows near the user's interests, such as his history: expanded
        whatever their score. Without entries and `only_score` the search comes
        down from the entry points through the upper levels, if there are any.
      only_score: Rows that are starting points if they score well (medoids).
      num_queries: B, where `entries` does not tell.
      ef: best_first: rows the beam keeps, at least k; default k + k / 4, at
        least 64.
      width: best_first: rows expanded in one hop; default 32.
      max_steps: best_first: most calls of the scorer; default no limit.
      max_evaluations: best_first: most rows scored; default no limit.
      widths: paper: beam width of each level, from level 0 up to that of the
        entry points.
      hops: paper: expansions on each level, likewise, the last one 1.
      filter: Rows that may be returned: [I] bool, or [(I + 7) / 8] uint8, bit
        r % 8 of byte r / 8 for row r. Others are walked through all the same.
      exclude: Rows that may not be returned, padded with -1.
      num_threads: Threads; queries are shared out among them.

    Returns:
      rows [B, K] int32, best first, -1 where fewer were found; scores [B, K]
      float32, -inf there; num_scored [B, S] int32, rows scored in each call.

    Raises:
      ValueError: An argument does not fit; a score is missing or not a number.
      Exception: Whatever the scorer raises comes through as it is.
    """
    shape = search_arguments.Shape.of(self.num_rows, entries, num_queries)
    core_policy = search_arguments.policy(
      policy,
      k,
      {
        "ef": ef,
        "width": width,
        "max_steps": max_steps,
        "max_evaluations": max_evaluations,
      },
      {"widths": widths, "hops": hops},
    )
    batch = search_arguments.Batch(
      shape.lists("entries", entries),
      shape.lists("only_score", only_score),
      shape.bitmaps("filter", filter),
      shape.lists("exclude", exclude),
    )
    score = score_fn if shape.is_batch else _without_number(score_fn)
    threads = search_arguments.at_least_one("num_threads", num_threads)
    wants_descent = (
      policy == "best_first" and entries is None and only_score is None
    )
    return self._run(
      lambda core, queries: core.search(score, queries, threads),
      batch,
      core_policy,
      k,
      shape.is_batch,
      wants_descent,
    )

  def search_vectors(
    self,
    queries: npt.ArrayLike,
    k: int,
    *,
    vectors: npt.ArrayLike,
    metric: str = "l2",
    entries: npt.ArrayLike | None = None,
    ef: int | None = None,
    width: int = 2,
    filter: npt.ArrayLike | None = None,
    exclude: npt.ArrayLike | None = None,
    num_threads: int = 1,
  ) -> SearchResult:
    """Finds the k rows whose vectors are nearest to a query, all in C++.

    Args:
      queries: [B, D] float32, or [D] for a single query.
      k: Answers wanted.
      vectors: [I, D] float32, one for each row; C-contiguous float32 is read
        where it lies.
      metric: "l2", scores are minus the squared distance, or "ip", the inner
        product.
      entries: As in `search`; mostly none.
      ef: Rows the beam keeps; as in `search`.
      width: Rows expanded in one hop.
      filter: As in `search`.
      exclude: As in `search`.
      num_threads: Threads; queries are shared out among them.

    Returns:
      As `search` does.

    Raises:
      ValueError: An argument does not fit.
    """
    points = np.asarray(queries, dtype=np.float32)
    if points.ndim not in (1, 2):
      raise ValueError(f"queries have shape {points.shape}, wanted [B, D]")
    is_batch = points.ndim == 2
    scorer = _core.VectorScorer(
      np.asarray(vectors, dtype=np.float32), np.atleast_2d(points), metric
    )
    shape = search_arguments.Shape.of(
      self.num_rows, None, len(points) if is_batch else 1
    )
    core_policy = search_arguments.policy(
      "best_first", k, {"ef": ef, "width": width}, {}
    )
    batch = search_arguments.Batch(
      shape.lists("entries", entries),
      shape.lists("only_score", None),
      shape.bitmaps("filter", filter),
      shape.lists("exclude", exclude),
    )
    threads = search_arguments.at_least_one("num_threads", num_threads)
    return self._run(
      lambda core, queries: core.search_vectors(scorer, queries, threads),
      batch,
      core_policy,
      k,
      is_batch,
      entries is None,
    )

  def vector_index(
    self, vectors: npt.ArrayLike, metric: str = "l2"
  ) -> VectorIndex:
    """Prepares vectors for the fastest search by a metric.

    `search_vectors` needs no preparation and takes filters; this is for many
    queries on vectors that stay.

    Args:
      vectors: [I, D] float32, one for each row.
      metric: "l2" or "ip".
    """
    return VectorIndex(self._graph, vectors, metric)

  def refined(
    self, vectors: npt.ArrayLike, degree: int = 64, num_threads: int = 1
  ) -> "Graph":
    """Returns a graph that finds the nearest vectors with fewer evaluations.

    Every row is searched for once more and gets the best neighbors among what
    is found, linked both ways; see ops/core/refine.h. Takes about as long as
    searching for every row twice.

    Args:
      vectors: [I, D] float32, finite.
      degree: Most neighbors of a row.
      num_threads: Threads.
    """
    table = np.ascontiguousarray(vectors, dtype=np.float32)
    search_arguments.at_least_one("degree", degree)
    threads = search_arguments.at_least_one("num_threads", num_threads)
    return Graph(refine.refine(self._graph, table, degree, threads))

  def _run(
    self,
    searcher: _Searcher,
    batch: search_arguments.Batch,
    policy: _core.PaperPolicy | _core.BestFirstPolicy,
    k: int,
    is_batch: bool,
    wants_descent: bool,
  ) -> SearchResult:
    parts = []
    if wants_descent:
      batch, descent = self._descend(searcher, batch)
      parts = [descent] if descent.size else []
    rows, scores, num_scored = searcher(self._core, batch.to_core(policy, k))
    num_scored = np.concatenate([*parts, num_scored], axis=1)
    if is_batch:
      return SearchResult(rows, scores, num_scored)
    return SearchResult(rows[0], scores[0], num_scored[0])

  def _descend(
    self, searcher: _Searcher, batch: search_arguments.Batch
  ) -> tuple[search_arguments.Batch, np.ndarray]:
    """Looks for starting points on the upper levels.

    Returns:
      The batch with them in it, and [B, S] int32 evaluations of each step.
    """
    size = len(batch.entries)
    if self._upper is None:
      points = np.tile(self.entry_points, (size, 1))
      return batch.with_only_score(points), np.zeros((size, 0), np.int32)
    number = self.num_levels - 1
    policy = _core.PaperPolicy(
      [_DESCENT_WIDTH] * number + [len(self.entry_points)],
      [_DESCENT_HOPS] * number + [1],
    )
    unfiltered = search_arguments.Batch.of_size(size)
    found, _, num_scored = searcher(
      self._upper, unfiltered.to_core(policy, _DESCENT_WIDTH)
    )
    return batch.with_only_score(found), num_scored[:, num_scored.any(axis=0)]


def _without_number(score_fn: ScoreFunction) -> ScoreFunction:
  return lambda rows, query: score_fn(rows)
