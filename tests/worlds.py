"""Random small graphs for the tests of the search: every awkward kind."""

import dataclasses

import numpy as np

from nann.index.graph import HnswGraph, Level


@dataclasses.dataclass(frozen=True)
class World:
  """A graph with integer-valued scores, so that equality is exact.

  Attributes:
    graph: Levels and entry points.
    scores: [B, I] float32 integers, many of them equal.
    expand: [B, F] int32 entries padded with -1, with repetitions.
    only_score: [B, M] int32, likewise.
  """

  graph: HnswGraph
  scores: np.ndarray
  expand: np.ndarray
  only_score: np.ndarray

  def lists(self, level: int) -> list[list[int]]:
    of_level = self.graph.levels[level]
    return [
      of_level.neighbors(row).tolist() for row in range(self.graph.num_rows)
    ]


def _level(rng: np.random.Generator, num_rows: int, degree: int) -> Level:
  """Random lists: self loops, repeated and missing neighbors included."""
  lengths = rng.integers(0, degree + 1, num_rows)
  if rng.random() < 0.3:
    lengths[rng.random(num_rows) < 0.5] = 0
  values = rng.integers(0, num_rows, lengths.sum())
  if rng.random() < 0.5:
    # Two halves that do not know each other.
    half = (num_rows + 1) // 2
    owner = np.repeat(np.arange(num_rows), lengths)
    values = np.where(owner < half, values % half, values)
  if rng.random() < 0.1:
    # Nobody knows anybody else.
    values = np.repeat(np.arange(num_rows), lengths)
  if rng.random() < 0.2:
    # Runs of the same neighbor, across the lists of several rows.
    values = np.repeat(values[::3], 3)[: len(values)]
  splits = np.concatenate([[0], np.cumsum(lengths)])
  return Level(values.astype(np.int32), splits.astype(np.int64))


def random_world(seed: int, num_users: int = 3) -> World:
  """Makes a world of 1 to 65 rows with 1 to 3 levels."""
  rng = np.random.default_rng(seed)
  num_rows = int(rng.choice([1, 2, 3, 8, 20, 33, 40, 64, 65]))
  num_levels = int(rng.integers(1, 4))
  levels = tuple(
    _level(rng, num_rows, int(rng.integers(0, 7))) for _ in range(num_levels)
  )
  number = int(rng.integers(1, min(num_rows, 6) + 1))
  entries = np.sort(rng.choice(num_rows, number, replace=False))
  # From all equal to nearly all different.
  spread = int(rng.choice([1, 3, 10, 1000]))
  scores = rng.integers(0, spread, (num_users, num_rows)).astype(np.float32)

  def entry_rows(most: int) -> np.ndarray:
    rows = rng.integers(0, num_rows, (num_users, most))
    rows[rng.random(rows.shape) < 0.4] = -1
    if rng.random() < 0.2:
      rows[:1] = -1
    return rows.astype(np.int32)

  return World(
    HnswGraph(levels, entries.astype(np.int32)),
    scores,
    entry_rows(int(rng.integers(1, 6))),
    entry_rows(int(rng.integers(0, 4))),
  )


def awkward_scores(
  rng: np.random.Generator, shape: tuple[int, ...]
) -> np.ndarray:
  """Makes scores with ties: of both zeros, of infinities, below zero."""
  spread = int(rng.choice([1, 3, 10, 1000]))
  scores = rng.integers(-spread, spread + 1, shape).astype(np.float32)
  scores[(scores == 0) & (rng.random(shape) < 0.5)] = -0.0
  extremes = [np.inf, -np.inf, np.finfo(np.float32).max, 1e-45]
  if rng.random() < 0.3:
    places = rng.random(shape) < 0.2
    scores[places] = rng.choice(extremes, places.sum())
  return scores


def complete_graph(num_rows: int) -> HnswGraph:
  """Every row has every row as a neighbor; row 0 is the entry point."""
  values = np.tile(np.arange(num_rows, dtype=np.int32), num_rows)
  splits = np.arange(num_rows + 1, dtype=np.int64) * num_rows
  return HnswGraph((Level(values, splits),), np.zeros(1, np.int32))
