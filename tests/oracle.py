"""The search in plain NumPy: slow, obvious, the definition of both policies.

Everything else that searches (stock TensorFlow ops, C++, CUDA) must agree with
this file exactly, down to the number of evaluations of every step.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

# Scores of some rows, int32 [n] -> float [n]. Higher is better.
Score = Callable[[np.ndarray], np.ndarray]
# Neighbor lists of one level, by row.
Lists = Sequence[Sequence[int]]
# Whether a row may be returned.
Allowed = Callable[[int], bool]


class Found(NamedTuple):
  """Rows with their scores, best first, and evaluations of each step."""

  rows: list[int]
  scores: list[float]
  num_scored: list[int]


def everything(row: int) -> bool:
  """Allows every row."""
  del row
  return True


def ranked(rows: list[int], scores: dict[int, float], width: int) -> list[int]:
  """The best `width` rows: score descending, then row ascending."""
  return sorted(rows, key=lambda row: (-scores[row], row))[:width]


def unvisited_neighbors(
  lists: Lists, frontier: list[int], visited: set[int]
) -> list[int]:
  """New rows in the order in which the frontier meets them; marks them."""
  found = []
  for row in frontier:
    for neighbor in lists[row]:
      if neighbor not in visited:
        visited.add(neighbor)
        found.append(neighbor)
  return found


def paper_search(
  levels: Sequence[Lists],
  entry_points: Sequence[int],
  score: Score,
  widths: Sequence[int],
  hops: Sequence[int],
  k: int,
  allowed: Allowed = everything,
) -> Found:
  """Level by level (arXiv 2202.10226, "beam-retrieval").

  `levels`, `widths` and `hops` go from level 0 up; widths and hops have one
  more entry, for the start level, whose rows are the entry points. Widths may
  also be one for each step, from the last back to the entry points. A row that
  is not allowed is walked through like any other, but not returned.
  """
  if len(widths) == len(hops):
    pairs = zip(widths, hops, strict=True)
    widths = [width for width, number in pairs for _ in range(number)]
  width_of_step = list(reversed(widths))
  scores: dict[int, float] = {}
  num_scored = []

  def evaluate(rows: list[int]) -> None:
    scores.update(zip(rows, score(np.array(rows, dtype=np.int32)), strict=True))
    num_scored.append(len(rows))

  evaluate(list(entry_points))
  beam = ranked(list(entry_points), scores, width_of_step[0])
  offered = beam
  for level in reversed(range(len(levels))):
    visited, frontier, offered = set(beam), beam, list(beam)
    for _ in range(hops[level]):
      candidates = unvisited_neighbors(levels[level], frontier, visited)
      evaluate(candidates)
      offered += candidates
      beam = ranked(
        beam + candidates, scores, width_of_step[len(num_scored) - 1]
      )
      frontier = [row for row in candidates if scores[row] >= scores[beam[-1]]]
  # All that the beam was offered on level 0, if only in passing.
  best = [row for row in offered if allowed(row)]
  best = ranked(best, scores, min(k, widths[0]))
  return Found(best, [scores[row] for row in best], num_scored)


def best_first_search(
  lists: Lists,
  expand: Sequence[int],
  only_score: Sequence[int],
  score: Score,
  ef: int,
  width: int,
  max_steps: int,
  max_evaluations: int,
  k: int,
  allowed: Allowed = everything,
) -> Found:
  """Best items first, on one level.

  `expand` are entries that are expanded whatever their score (the history),
  `only_score` entries that must earn it (medoids). A step is one call of
  `score`; the entries are the first. Rows beyond `max_evaluations` are not
  scored, in the order in which they were met. The beam holds allowed rows only;
  what ranks no lower than its last is worth expanding, allowed or not.
  """
  ef = max(ef, k)
  scores: dict[int, float] = {}
  num_scored: list[int] = []
  expanded: set[int] = set()

  def evaluate(rows: list[int]) -> list[int]:
    rows = rows[: max_evaluations - len(scores)]
    scores.update(zip(rows, score(np.array(rows, dtype=np.int32)), strict=True))
    num_scored.append(len(rows))
    return rows

  def beam() -> list[int]:
    return ranked([row for row in scores if allowed(row)], scores, ef)

  def best_unexpanded() -> list[int]:
    order = ranked(list(scores), scores, len(scores))
    if len(beam()) == ef:
      order = order[: order.index(beam()[-1]) + 1]
    return [row for row in order if row not in expanded][:width]

  visited = set(evaluate(list(dict.fromkeys([*expand, *only_score]))))
  frontier = [row for row in dict.fromkeys(expand) if row in visited]
  frontier = frontier or best_unexpanded()
  while frontier and len(num_scored) < max_steps:
    if len(scores) >= max_evaluations:
      break
    expanded.update(frontier)
    evaluate(unvisited_neighbors(lists, frontier, visited))
    frontier = best_unexpanded()
  best = beam()[:k]
  return Found(best, [scores[row] for row in best], num_scored)
