"""The flat graph that `best_first` walks: near items, no islands.

Symmetrized nearest neighbors united with the lowest level of a slim HNSW graph.
Short lists suffice, since a search starts in the midst of the user's interests;
the HNSW edges lead from one neighborhood to the next.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from nann.index.graph import HnswGraph, Level


class FlatGraph(NamedTuple):
  """The graph and what was found while making it.

  Attributes:
    graph: One level; its entry points are the medoids.
    num_islands: Groups of rows that had no way in, and were given one.
  """

  graph: HnswGraph
  num_islands: int


def flat_graph(
  neighbors: np.ndarray, hnsw: Level, medoids: np.ndarray, max_reversed: int
) -> FlatGraph:
  """Unites neighbor lists into a graph in which every row can be reached.

  Args:
    neighbors: [I, k] int64, each row's nearest rows, nearest first; -1: none.
    hnsw: Level 0 of an HNSW graph of the same rows.
    medoids: [M] int32 rows, where walks may begin.
    max_reversed: Most rows of those that have a row among their nearest which
      the row is linked back to. Without a limit, a row near to everything
      would have a list of everything.
  """
  number = len(neighbors)
  edges = _edges(neighbors)
  backward = _reversed(neighbors, max_reversed)
  links = sparse.csr_matrix(
    (
      np.ones(len(hnsw.values), np.int32),
      hnsw.values,
      hnsw.row_splits,
    ),
    shape=(number, number),
  )
  union = (edges + backward + links).tocsr()
  union, num_islands = _join_islands(union, edges, medoids)
  return FlatGraph(HnswGraph((_level(union),), medoids), num_islands)


def united(first: np.ndarray, second: np.ndarray) -> np.ndarray:
  """Returns [I, a + b]: both tables; what is in both is -1 in the second.

  Args:
    first: [I, a] int64 rows, -1: none.
    second: [I, b] likewise.
  """
  is_known = (second[:, :, None] == first[:, None, :]).any(axis=2)
  return np.concatenate([first, np.where(is_known, -1, second)], axis=1)


def _edges(neighbors: np.ndarray) -> sparse.csr_matrix:
  """Returns the table as a matrix: entry (row, neighbor) is the rank from 1."""
  number, k = neighbors.shape
  rows = np.repeat(np.arange(number), k)
  ranks = np.tile(np.arange(1, k + 1, dtype=np.int32), number)
  inside = neighbors.ravel() >= 0
  return sparse.csr_matrix(
    (ranks[inside], (rows[inside], neighbors.ravel()[inside])),
    shape=(number, number),
  )


def _reversed(neighbors: np.ndarray, count: int) -> sparse.csr_matrix:
  """Returns, for each row, the `count` rows to which it is the nearest.

  Of those to which it is equally near, the first ones. Entry (row, other) is
  the rank from 1.
  """
  number = len(neighbors)
  inside = neighbors.T >= 0
  ranks, others = np.nonzero(inside)
  edges = sparse.coo_matrix(
    (ranks.astype(np.int32) + 1, (neighbors.T[inside], others)),
    shape=(number, number),
  )
  # Taken as they come, which is by rank: not sorted by column.
  edges.has_canonical_format = True
  matrix = edges.tocsr()
  counts = np.diff(matrix.indptr)
  first = np.repeat(matrix.indptr[:-1], counts)
  kept = np.arange(matrix.nnz) - first < count
  row_splits = np.concatenate([[0], np.cumsum(np.minimum(counts, count))])
  return sparse.csr_matrix(
    (matrix.data[kept], matrix.indices[kept], row_splits), shape=matrix.shape
  )


def _join_islands(
  union: sparse.csr_matrix, edges: sparse.csr_matrix, medoids: np.ndarray
) -> tuple[sparse.csr_matrix, int]:
  """Links rows that no walk from the medoids reaches with near ones it does."""
  num_islands = 0
  while True:
    reached = _reached(union, medoids)
    lost = np.flatnonzero(~reached)
    if not len(lost):
      return union, num_islands
    count, island = sparse.csgraph.connected_components(
      union[lost][:, lost], directed=False
    )
    num_islands += count
    inside, outside = _bridges(edges, lost, island, reached, medoids)
    ones = np.ones(2 * len(inside), np.int32)
    both = (
      np.concatenate([outside, inside]),
      np.concatenate([inside, outside]),
    )
    union = (union + sparse.csr_matrix((ones, both), shape=union.shape)).tocsr()


def _bridges(
  edges: sparse.csr_matrix,
  lost: np.ndarray,
  island: np.ndarray,
  reached: np.ndarray,
  medoids: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
  """Chooses for each island a row of it and a row that is reached.

  Of all nearest neighbors that lead out of the island, the one of lowest rank;
  if none does, a medoid.
  """
  near = edges[lost].tocoo()
  leads_out = reached[near.col]
  row, column = near.row[leads_out], near.col[leads_out]
  order = np.lexsort((column, row, near.data[leads_out], island[row]))
  _, first = np.unique(island[row][order], return_index=True)
  chosen = order[first]
  inside, outside = lost[row[chosen]], column[chosen]
  without = np.setdiff1d(island, island[row])
  _, some_row = np.unique(island, return_index=True)
  inside = np.concatenate([inside, lost[some_row[without]]])
  return inside, np.concatenate([outside, np.full(len(without), medoids[0])])


def _reached(union: sparse.csr_matrix, medoids: np.ndarray) -> np.ndarray:
  graph = HnswGraph((_level(union),), medoids)
  return graph.reached()


def _level(matrix: sparse.csr_matrix) -> Level:
  matrix.sort_indices()
  return Level(matrix.indices.astype(np.int32), matrix.indptr.astype(np.int64))
