"""The graph that a search walks: levels of neighbor lists and entry points."""

import dataclasses

import numpy as np

_BLOCK_ROWS = 1 << 16


@dataclasses.dataclass(frozen=True)
class Level:
  """Neighbor lists of one level, in compressed rows.

  Attributes:
    values: [E] int32 rows, the lists one after the other.
    row_splits: [I + 1] int64; row r's list is values[row_splits[r]:
      row_splits[r + 1]]. Rows that are not on the level have none.
  """

  values: np.ndarray
  row_splits: np.ndarray

  def neighbors(self, row: int) -> np.ndarray:
    return self.values[self.row_splits[row] : self.row_splits[row + 1]]

  def neighbors_of(self, rows: np.ndarray) -> np.ndarray:
    """Returns the lists of several rows, one after the other."""
    begins, ends = self.row_splits[rows], self.row_splits[rows + 1]
    lengths = ends - begins
    offsets = np.cumsum(lengths) - lengths
    places = np.arange(lengths.sum()) + np.repeat(begins - offsets, lengths)
    return self.values[places]

  def check(self, name: str, num_rows: int) -> None:
    """Raises ValueError unless the arrays make neighbor lists of rows."""
    splits, values = self.row_splits, self.values
    if not len(splits) or len(splits) != num_rows + 1:
      raise ValueError(
        f"{name} row_splits has {len(splits)} entries, wanted {num_rows + 1}"
      )
    if splits[0] != 0 or splits[-1] != len(values):
      raise ValueError(
        f"{name} row_splits goes from {splits[0]} to {splits[-1]}, wanted 0 to"
        f" {len(values)}, the number of neighbors"
      )
    if (np.diff(splits) < 0).any():
      row = int(np.argmax(np.diff(splits) < 0))
      raise ValueError(f"{name} row_splits decreases after row {row}")
    if len(values) and (values.min() < 0 or values.max() >= num_rows):
      bad = int(np.argmax((values < 0) | (values >= num_rows)))
      raise ValueError(
        f"{name} neighbor {bad} is {values[bad]}, outside [0, {num_rows})"
      )


@dataclasses.dataclass(frozen=True)
class HnswGraph:
  """A hierarchical graph, as far as a search uses it.

  Attributes:
    levels: Levels 0 .. start_level - 1.
    entry_points: [n] int32, all rows of the start level, ascending.
  """

  levels: tuple[Level, ...]
  entry_points: np.ndarray

  @property
  def start_level(self) -> int:
    return len(self.levels)

  @property
  def num_rows(self) -> int:
    return len(self.levels[0].row_splits) - 1

  def check(self) -> None:
    """Raises ValueError unless the graph can be walked."""
    if not self.levels:
      raise ValueError("the graph has no level")
    for number, level in enumerate(self.levels):
      level.check(f"level {number}", self.num_rows)
    points = self.entry_points
    if not len(points):
      raise ValueError("the graph has no entry point")
    if points.min() < 0 or points.max() >= self.num_rows:
      raise ValueError(
        f"an entry point is outside [0, {self.num_rows}): {points.min()} to"
        f" {points.max()}"
      )
    if len(np.unique(points)) != len(points):
      raise ValueError("an entry point is there twice, wanted each row once")

  def reached(self) -> np.ndarray:
    """Returns [I] bool: the rows that a walk from the entry points can meet."""
    reached = np.zeros(self.num_rows, dtype=bool)
    reached[self.entry_points] = True
    for level in reversed(self.levels):
      frontier = np.flatnonzero(reached)
      while len(frontier):
        known = reached.copy()
        for begin in range(0, len(frontier), _BLOCK_ROWS):
          part = frontier[begin : begin + _BLOCK_ROWS]
          reached[level.neighbors_of(part)] = True
        frontier = np.flatnonzero(reached & ~known)
    return reached


@dataclasses.dataclass(frozen=True)
class Index:
  """Both graphs of a catalogue.

  Attributes:
    hnsw: What policy `paper` walks.
    flat: What policy `best_first` walks: one level, whose entry points are the
      medoids. None in an index of the original's.
  """

  hnsw: HnswGraph
  flat: HnswGraph | None

  @property
  def num_rows(self) -> int:
    return self.hnsw.num_rows

  def check(self) -> None:
    """Raises ValueError unless both can be walked and have the same rows."""
    self.hnsw.check()
    if self.flat is None:
      return
    self.flat.check()
    if self.flat.num_rows != self.hnsw.num_rows:
      raise ValueError(
        f"the flat graph has {self.flat.num_rows:,} rows, the levels have"
        f" {self.hnsw.num_rows:,}"
      )

  @property
  def best_first(self) -> HnswGraph:
    """The flat graph, or what comes nearest to it."""
    return self.flat or self.hnsw
