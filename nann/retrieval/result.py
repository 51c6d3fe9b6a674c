"""What a search takes and gives. No TensorFlow."""

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class PaperPolicy:
  """Level by level, as in the paper.

  Attributes:
    widths: Beam width of each level, from level 0 up to the start level.
    hops: Hops on each level, likewise; the start level is scored once.
  """

  widths: tuple[int, ...]
  hops: tuple[int, ...]

  def for_start_level(self, start_level: int) -> "PaperPolicy":
    """Returns the policy for a graph whose start level had to be lower.

    Raises:
      ValueError: The graph has more levels than the policy.
    """
    if start_level + 1 > len(self.widths):
      raise ValueError(
        f"the index has start level {start_level}, --top-k-per-level and"
        f" --num-scoring-per-level have {len(self.widths)} values, wanted"
        f" {start_level + 1}"
      )
    count = start_level + 1
    return PaperPolicy(self.widths[:count], self.hops[:count])

  @property
  def num_steps(self) -> int:
    """Evaluations are counted per step; this is how many there are."""
    return 1 + sum(self.hops[:-1])


@dataclasses.dataclass(frozen=True)
class BestFirstPolicy:
  """Best items first, on level 0.

  Attributes:
    ef: Items the beam keeps; at least k is used.
    width: Items expanded at each step.
    max_steps: Most calls of the scorer, that for the entries included.
    max_evaluations: Most items scored.
  """

  ef: int
  width: int
  max_steps: int
  max_evaluations: int


Policy = PaperPolicy | BestFirstPolicy


@dataclasses.dataclass(frozen=True)
class SearchResult:
  """Answers for B queries, or without that dimension for a single one.

  Attributes:
    rows: [B, K] int32, best first; -1 where fewer were found.
    scores: [B, K] float32; -inf there.
    num_scored: [B, S] int32, evaluations of each step.
  """

  rows: np.ndarray
  scores: np.ndarray
  num_scored: np.ndarray

  @property
  def total_scored(self) -> np.ndarray:
    """[B] evaluations of each query."""
    total: np.ndarray = self.num_scored.sum(axis=-1)
    return total


def concatenate(results: Sequence[SearchResult]) -> SearchResult:
  """Joins the answers of several batches; fills up missing steps with 0."""
  num_steps = max(result.num_scored.shape[1] for result in results)
  counts = [
    np.pad(
      result.num_scored, [(0, 0), (0, num_steps - result.num_scored.shape[1])]
    )
    for result in results
  ]
  return SearchResult(
    np.concatenate([result.rows for result in results]),
    np.concatenate([result.scores for result in results]),
    np.concatenate(counts),
  )
