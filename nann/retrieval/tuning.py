"""Finds the cheapest settings of a search that reach a coverage."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from nann.retrieval import metrics
from nann.retrieval import result as results
from nann.retrieval.result import BestFirstPolicy, PaperPolicy, Policy
from nann.retrieval.retriever import Retriever

# Of the beam, in units of k; of the frontier.
_EF = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0)
_WIDTHS = (16, 32, 64)
# Policy paper: of the beams, in units of the ones asked for; hops on level 0.
_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
_HOPS = (1, 2, 3, 4, 6)


@dataclasses.dataclass(frozen=True)
class Point:
  """What one policy gives.

  Attributes:
    policy: The policy.
    coverage: [n] share of the exact top k that was found, by user.
    evaluations: [n] items scored, by user.
    rows: [n, K] int32 answers.
  """

  policy: Policy
  coverage: np.ndarray
  evaluations: np.ndarray
  rows: np.ndarray


def measure(
  retriever: Retriever, policy: Policy, histories: np.ndarray, exact: np.ndarray
) -> Point:
  """Runs a policy.

  Args:
    retriever: Scorer, items and graphs.
    policy: The policy.
    histories: [n, L] int64 item ids.
    exact: [n, K] int32 rows of the exact answer.
  """
  k = exact.shape[1]
  found = results.concatenate(list(retriever.search(histories, policy, k)))
  coverage = metrics.coverage(found.rows + 1, exact + 1, k)
  return Point(policy, coverage, found.total_scored, found.rows)


def best_first_policies(
  k: int, max_steps: int, max_evaluations: int
) -> Iterator[list[Policy]]:
  """Yields ladders of policies; along each, coverage grows."""
  for width in _WIDTHS:
    yield [
      BestFirstPolicy(round(scale * k), width, max_steps, max_evaluations)
      for scale in _EF
    ]


def paper_policies(
  k: int,
  widths: Sequence[int],
  hops: Sequence[int],
  start_level: int,
  scales: Sequence[float] = _SCALES,
) -> Iterator[list[Policy]]:
  """Yields ladders of policies; along each, coverage grows.

  Args:
    k: K; the beam of level 0 is at least as wide.
    widths: Beam widths of the levels that are scaled.
    hops: Hops of the levels; those of level 0 are varied.
    start_level: Of the graph.
    scales: What the beam widths are multiplied by, one in each ladder.
  """
  for scale in scales:
    scaled = [max(1, round(scale * width)) for width in widths]
    scaled[0] = max(scaled[0], k)
    yield [
      PaperPolicy(tuple(scaled), (hops_0, *hops[1:])).for_start_level(
        start_level
      )
      for hops_0 in _HOPS
    ]


def cheapest(
  ladders: Iterable[list[Policy]],
  run: Callable[[Policy], Point],
  target_coverage: float,
) -> tuple[Point | None, list[Point]]:
  """Climbs each ladder until the target is reached.

  Returns:
    The point of fewest evaluations that reaches the mean coverage, None if none
    does; and all points that were measured.
  """
  points: list[Point] = []
  for ladder in ladders:
    for policy in ladder:
      points.append(run(policy))
      if points[-1].coverage.mean() >= target_coverage:
        break
  good = [p for p in points if p.coverage.mean() >= target_coverage]
  best = min(good, key=lambda p: p.evaluations.mean(), default=None)
  return best, points
