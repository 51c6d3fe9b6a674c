"""What callers of `nann.Graph` may give, turned into what the search takes.

Lists of rows become padded matrices, bitmaps are packed, settings are checked.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nann import _core
from nann.index.graph import Level

# Neighbor lists of one level: a list of lists, a padded matrix, or a tuple of
# values and row_splits.
NeighborLists = (
  Sequence[Sequence[int]] | np.ndarray | tuple[np.ndarray, np.ndarray]
)

_NO_LIMIT = 2**31 - 1
_DEFAULT_WIDTH = 32


def rows(name: str, value: npt.ArrayLike) -> np.ndarray:
  """Turns row numbers into int32, whatever integers they were.

  Raises:
    ValueError: They are no integers, or do not fit into int32.
  """
  array = np.asarray(value)
  if not array.size:
    return array.astype(np.int32)
  if array.dtype.kind not in "iu":
    raise ValueError(f"{name} has dtype {array.dtype}, wanted integers")
  if array.max() > _NO_LIMIT or array.min() < -_NO_LIMIT:
    raise ValueError(
      f"{name} goes from {array.min()} to {array.max()}, wanted rows"
    )
  return array.astype(np.int32, copy=False)


def at_least_one(name: str, value: int) -> int:
  """Returns the value, or raises ValueError if it is below 1."""
  if value < 1:
    raise ValueError(f"{name} is {value}, wanted at least 1")
  return int(value)


def levels(given: Sequence[NeighborLists]) -> tuple[Level, ...]:
  """Turns neighbor lists of some levels into compressed rows.

  Raises:
    ValueError: There is no level, or one is not made of integers.
  """
  if not given:
    raise ValueError("there are 0 levels, wanted at least 1")
  return tuple(_level(f"level {i}", lists) for i, lists in enumerate(given))


def _level(name: str, lists: NeighborLists) -> Level:
  if isinstance(lists, tuple):
    if len(lists) != 2:
      raise ValueError(
        f"{name} is a tuple of {len(lists)}, wanted (values, row_splits), or a"
        " list of lists"
      )
    splits = np.asarray(lists[1])
    if splits.dtype.kind not in "iu":
      raise ValueError(
        f"{name} row_splits has dtype {splits.dtype}, wanted integers"
      )
    return Level(rows(f"{name} values", lists[0]), splits.astype(np.int64))
  if isinstance(lists, np.ndarray) and lists.ndim == 2:
    matrix = rows(name, lists)
    inside = matrix >= 0
    lengths = inside.sum(axis=1)
    return Level(matrix[inside], _row_splits(lengths))
  parts = [rows(name, part) for part in lists]
  values = np.concatenate([np.zeros(0, np.int32), *parts])
  return Level(values, _row_splits([len(part) for part in parts]))


def _row_splits(lengths: npt.ArrayLike) -> np.ndarray:
  return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


@dataclasses.dataclass(frozen=True)
class Shape:
  """How many rows and queries the arguments of a search are about."""

  num_rows: int
  num_queries: int
  is_batch: bool

  @classmethod
  def of(
    cls, num_rows: int, entries: npt.ArrayLike | None, num_queries: int | None
  ) -> "Shape":
    """Finds out whether there is one query or a batch; see `Graph.search`."""
    if num_queries is not None:
      return cls(num_rows, at_least_one("num_queries", num_queries), True)
    if _is_nested(entries):
      number = at_least_one("the number of entries", len(entries))  # type: ignore[arg-type]
      return cls(num_rows, number, True)
    return cls(num_rows, 1, False)

  def lists(self, name: str, value: Any) -> np.ndarray:
    """Turns rows, or rows of each query, into [B, F] int32 padded with -1.

    Raises:
      ValueError: A row is outside the graph, or lists of some queries are
        missing.
    """
    if value is None:
      return np.zeros((self.num_queries, 0), np.int32)
    if not _is_nested(value):
      shared = rows(name, value)
      if shared.ndim != 1:
        raise ValueError(
          f"{name} has {shared.ndim} dimensions, wanted 1, or 2 for a batch"
        )
      matrix = np.tile(shared, (self.num_queries, 1))
    else:
      self._check_number(name, len(value))
      parts = [rows(f"{name}[{i}]", part) for i, part in enumerate(value)]
      longest = max(len(part) for part in parts)
      matrix = np.full((self.num_queries, longest), -1, np.int32)
      for row, part in zip(matrix, parts, strict=True):
        row[: len(part)] = part
    if (matrix >= self.num_rows).any():
      query, place = np.argwhere(matrix >= self.num_rows)[0]
      raise ValueError(
        f"{name}[{query}, {place}] = {matrix[query, place]} is outside"
        f" [0, {self.num_rows})"
      )
    return matrix

  def bitmaps(self, name: str, value: npt.ArrayLike | None) -> np.ndarray:
    """Packs a bitmap for all queries, or one for each.

    Returns:
      [1 or B, (I + 7) / 8] uint8; [0, 0] allows all rows.

    Raises:
      ValueError: The bitmap is of another shape or type.
    """
    if value is None:
      return np.zeros((0, 0), np.uint8)
    bitmap = np.asarray(value)
    num_bytes = (self.num_rows + 7) // 8
    wanted = {"b": self.num_rows, "u": num_bytes}.get(bitmap.dtype.kind)
    is_right = wanted is not None and bitmap.dtype.itemsize == 1
    if not is_right or bitmap.ndim not in (1, 2) or bitmap.shape[-1] != wanted:
      raise ValueError(
        f"{name} has shape {bitmap.shape} and dtype {bitmap.dtype}, wanted"
        f" [{self.num_rows}] bool or [{num_bytes}] uint8, or one for each query"
      )
    if bitmap.ndim == 2:
      self._check_number(name, len(bitmap))
    if bitmap.dtype.kind == "b":
      bitmap = np.packbits(bitmap, axis=-1, bitorder="little")
    return np.atleast_2d(bitmap)

  def _check_number(self, name: str, number: int) -> None:
    if number != self.num_queries:
      raise ValueError(
        f"{name} is given for {number} queries, wanted {self.num_queries}"
      )


def _is_nested(value: Any) -> bool:
  if isinstance(value, np.ndarray):
    return value.ndim == 2
  return isinstance(value, (list, tuple)) and any(
    isinstance(part, (list, tuple, np.ndarray, range)) for part in value
  )


@dataclasses.dataclass(frozen=True)
class Batch:
  """The queries of a search.

  Attributes:
    entries: [B, F] int32, padded with -1, like the next.
    only_score: [B, M] int32.
    allowed: [1 or B, (I + 7) / 8] uint8, or [0, 0].
    denied: [B, X] int32.
  """

  entries: np.ndarray
  only_score: np.ndarray
  allowed: np.ndarray
  denied: np.ndarray

  @classmethod
  def of_size(cls, num_queries: int) -> "Batch":
    """Makes a batch without entries and filters."""
    nothing = np.zeros((num_queries, 0), np.int32)
    return cls(nothing, nothing, np.zeros((0, 0), np.uint8), nothing)

  def with_only_score(self, only_score: np.ndarray) -> "Batch":
    return dataclasses.replace(self, only_score=only_score)

  def to_core(
    self, policy: _core.PaperPolicy | _core.BestFirstPolicy, k: int
  ) -> _core.Batch:
    return _core.Batch(
      policy, k, self.entries, self.only_score, self.allowed, self.denied
    )


def policy(
  name: str,
  k: int,
  best_first: Mapping[str, int | None],
  paper: Mapping[str, npt.ArrayLike | None],
) -> _core.PaperPolicy | _core.BestFirstPolicy:
  """Makes the policy of a search.

  Args:
    name: "best_first" or "paper".
    k: K.
    best_first: Settings of that policy, None for the default.
    paper: Settings of the other.

  Raises:
    ValueError: There is no such policy, or a setting is missing, wrong, or one
      of the other policy.
  """
  at_least_one("k", k)
  check_policy(name)
  of_other = paper if name == "best_first" else best_first
  for setting, value in of_other.items():
    if value is not None:
      raise ValueError(
        f"{setting} is given, but policy {name} has no {setting}"
      )
  if name == "paper":
    for setting, value in paper.items():
      if value is None:
        raise ValueError(
          f"{setting} is missing, wanted one number for each level and one for"
          " the entry points"
        )
    return _core.PaperPolicy(
      rows("widths", paper["widths"]).tolist(),  # type: ignore[arg-type]
      rows("hops", paper["hops"]).tolist(),  # type: ignore[arg-type]
    )
  given = {
    setting: at_least_one(setting, value)
    for setting, value in best_first.items()
    if value is not None
  }
  return _core.BestFirstPolicy(
    ef=given.get("ef", default_ef(k)),
    width=given.get("width", _DEFAULT_WIDTH),
    max_steps=given.get("max_steps", _NO_LIMIT),
    max_evaluations=given.get("max_evaluations", _NO_LIMIT),
  )


def check_policy(name: str) -> None:
  """Raises ValueError unless there is such a policy."""
  if name not in ("best_first", "paper"):
    raise ValueError(f"policy is '{name}', wanted best_first or paper")


def default_ef(k: int) -> int:
  """Returns how many rows a beam keeps for k answers, unless it is told."""
  return max(64, k + k // 4)
