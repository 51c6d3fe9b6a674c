"""The items in the order of the graph's rows, and how ids become rows."""

import dataclasses
import functools

import numpy as np

from nann.index import nearest

NO_ROW = -1


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
) -> np.ndarray:
  """Completes a row table for entries: an absent item stands for a near one.

  A user whose history has left the catalogue is still led to what is like it.

  Args:
    rows: [n] int32, row by item id.
    missing: [m] int64 ids without a row.
    embeddings: [m, D] float32 of those.
    items: The items that are there.
  """
  table = rows.copy()
  if len(missing):
    found = nearest.nearest_rows(embeddings, items.embeddings, 1)
    table[missing] = found[:, 0]
  return table
