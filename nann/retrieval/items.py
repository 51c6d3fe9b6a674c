"""The items in the order of the graph's rows, and how ids become rows."""

import dataclasses
import functools
import os

import numpy as np

from nann.index import nearest
from nann.index.graph import HnswGraph
from nann.vector_index import VectorIndex

NO_ROW = -1
# Pairs of an absent and a present item: a minute on two cores.
_MOST_COMPARED = 1 << 38
_NEAREST_EF = 32


@dataclasses.dataclass(frozen=True)
class ItemArrays:
  """The items in the order of the graph's rows.

  Attributes:
    item_ids: [I] int64; row r holds item item_ids[r].
    category_ids: [I] int64.
    embeddings: [I, D] float32.
  """

  item_ids: np.ndarray
  category_ids: np.ndarray
  embeddings: np.ndarray

  def __len__(self) -> int:
    return len(self.item_ids)

  def row_table(self, num_ids: int) -> np.ndarray:
    """Returns [num_ids] int32: the row of each item id, -1 where none is."""
    table = np.full(num_ids, NO_ROW, dtype=np.int32)
    inside = self.item_ids < num_ids
    table[self.item_ids[inside]] = np.flatnonzero(inside)
    table[0] = NO_ROW
    return table

  @functools.cached_property
  def _rows(self) -> np.ndarray:
    return self.row_table(int(self.item_ids.max()) + 1)

  def rows_of(self, item_ids: np.ndarray) -> np.ndarray:
    """Returns int32 rows of item ids of any shape, -1 where there is none."""
    known = (item_ids >= 0) & (item_ids < len(self._rows))
    # Id 0 is padding and has no row.
    rows: np.ndarray = self._rows[np.where(known, item_ids, 0)]
    return rows


def entry_table(
  rows: np.ndarray,
  missing: np.ndarray,
  embeddings: np.ndarray,
  items: ItemArrays,
  graph: HnswGraph | None = None,
) -> np.ndarray:
  """Completes a row table for entries: an absent item stands for a near one.

  A user whose history has left the catalogue is still led to what is like it.

  Args:
    rows: [n] int32, row by item id.
    missing: [m] int64 ids without a row.
    embeddings: [m, D] float32 of those.
    items: The items that are there.
    graph: Their graph, which is searched where comparing all takes too long.
  """
  table = rows.copy()
  if not len(missing):
    return table
  if graph is None or len(missing) * len(items) <= _MOST_COMPARED:
    table[missing] = nearest.nearest_rows(embeddings, items.embeddings, 1)[:, 0]
    return table
  index = VectorIndex(graph, items.embeddings, "l2")
  threads = os.cpu_count() or 1
  found = index.search(embeddings, 1, ef=_NEAREST_EF, num_threads=threads)
  table[missing] = found.rows[:, 0]
  return table
