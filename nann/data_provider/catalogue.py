"""The items: ids, categories, popularity, and the user's own ids for them."""

import dataclasses
import pathlib

import numpy as np

from nann import files


@dataclasses.dataclass(frozen=True)
class Catalogue:
  """All items, sorted by item_id 1..I.

  Attributes:
    category_ids: [I] int64, 1-based category of each item.
    counts: [I] float64, events of training users (or a share of them in the
      original's files).
    raw_item_ids: [I] int64 or bytes, or None in the original's files.
    raw_category_ids: [C] likewise, by category id - 1.
  """

  category_ids: np.ndarray
  counts: np.ndarray
  raw_item_ids: np.ndarray | None = None
  raw_category_ids: np.ndarray | None = None

  @property
  def num_items(self) -> int:
    return len(self.category_ids)

  @property
  def num_categories(self) -> int:
    if self.raw_category_ids is not None:
      return len(self.raw_category_ids)
    return int(self.category_ids.max(initial=0))

  def category_table(self) -> np.ndarray:
    """Returns [I + 1] int32: category by item_id, 0 for the padding id 0."""
    table = np.zeros(self.num_items + 1, dtype=np.int32)
    table[1:] = self.category_ids
    return table

  def to_item_ids(self, raw_item_ids: np.ndarray) -> np.ndarray:
    """Translates raw ids. Returns int64 of the same shape, 0 where unknown."""
    if self.raw_item_ids is None:
      known = (raw_item_ids >= 1) & (raw_item_ids <= self.num_items)
      return np.where(known, raw_item_ids, 0)
    order = np.argsort(self.raw_item_ids, kind="stable")
    sorted_ids = self.raw_item_ids[order]
    found = np.searchsorted(sorted_ids, raw_item_ids)
    found = np.minimum(found, len(sorted_ids) - 1)
    known = sorted_ids[found] == raw_item_ids
    return np.where(known, order[found] + 1, 0)

  def to_raw_item_ids(self, item_ids: np.ndarray) -> np.ndarray:
    """Translates item ids 1..I to the user's own; any shape."""
    if self.raw_item_ids is None:
      return item_ids
    return self.raw_item_ids[item_ids - 1]


def save_catalogue(path: pathlib.Path, catalogue: Catalogue) -> None:
  """Writes the catalogue as .npz, under the original's names and ours."""
  assert catalogue.raw_item_ids is not None
  assert catalogue.raw_category_ids is not None
  total = max(float(catalogue.counts.sum()), 1.0)
  with files.written_whole(path) as temporary:
    np.savez(
      temporary,
      item_id=np.arange(1, catalogue.num_items + 1),
      cate_id=catalogue.category_ids,
      weight_tag=catalogue.counts / total,
      count=catalogue.counts,
      raw_item_id=catalogue.raw_item_ids,
      raw_cate_id=catalogue.raw_category_ids,
    )


def load_catalogue(path: pathlib.Path) -> Catalogue:
  """Reads ub_items.npz, ours or the original's.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: It is truncated, foreign, or its item ids are not 1..I.
  """
  if not path.exists():
    raise FileNotFoundError(f"{path} is missing; run --job-type prepare_data")
  try:
    with np.load(path, allow_pickle=False) as arrays:
      content = {name: arrays[name] for name in arrays.files}
    item_ids, category_ids = content["item_id"], content["cate_id"]
    counts = content.get("count", content["weight_tag"]).astype(np.float64)
  except Exception as error:  # zipfile, zlib and NumPy each have their own.
    raise ValueError(
      f"{path} is no item file ({error}); run --job-type prepare_data again"
    ) from error
  order = np.argsort(item_ids, kind="stable")
  if not np.array_equal(item_ids[order], np.arange(1, len(item_ids) + 1)):
    raise ValueError(
      f"{path}: item ids are not 1..{len(item_ids)}; run --job-type"
      " prepare_data again"
    )
  return Catalogue(
    category_ids=category_ids[order].astype(np.int64),
    counts=counts[order],
    raw_item_ids=content.get("raw_item_id"),
    raw_category_ids=content.get("raw_cate_id"),
  )
