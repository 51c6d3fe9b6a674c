"""What is measured of answers. NumPy only.

Every test user has one held-out item, so a user's recall is 0 or 1, its
precision recall / k.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Share:
  """A mean of zeros and ones (or of shares) with its standard error."""

  mean: float
  standard_error: float
  count: int

  def __str__(self) -> str:
    return f"{self.mean:.4f} ± {self.standard_error:.4f}"


def share(values: np.ndarray) -> Share:
  """Returns the mean of [n] values and its standard error."""
  count = len(values)
  if not count:
    return Share(float("nan"), float("nan"), 0)
  spread = float(values.std(ddof=1)) if count > 1 else 0.0
  return Share(float(values.mean()), spread / count**0.5, count)


def hits(item_ids: np.ndarray, targets: np.ndarray, k: int) -> np.ndarray:
  """Returns [n] bool: the target is among the first k answers.

  Args:
    item_ids: [n, K] int64 answers, best first; 0 where there is none.
    targets: [n] int64.
    k: At most K counts.
  """
  found: np.ndarray = (item_ids[:, :k] == targets[:, None]).any(axis=1)
  return found


def coverage(found: np.ndarray, exact: np.ndarray, k: int) -> np.ndarray:
  """Returns [n]: the share of the exact top k that the search returned.

  Args:
    found: [n, K] answers of the search.
    exact: [n, K] answers of the exact scan.
    k: At most K of both count.
  """
  return np.array(
    [
      len(np.intersect1d(a, b)) / len(b)
      for a, b in zip(found[:, :k], exact[:, :k], strict=True)
    ]
  )


def f1(recall: float, precision: float) -> float:
  """Returns the harmonic mean of recall and precision."""
  total = recall + precision
  return 2 * recall * precision / total if total else 0.0


def delta(recall_all: float, recall_retrieval: float) -> float:
  """Returns what the search loses of the recall, as a share of it.

  Source: NANN (arXiv 2202.10226), section 5.1.
  """
  if not recall_all:
    return float("nan")
  return (recall_all - recall_retrieval) / recall_all


def evaluations(num_scored: np.ndarray, num_items: int) -> dict[str, object]:
  """Describes the number of evaluations per query.

  Args:
    num_scored: [n, S] evaluations of each step.
    num_items: I.
  """
  total = num_scored.sum(axis=1)
  per_step = num_scored.mean(axis=0)
  used = np.flatnonzero(per_step)
  return {
    "mean": float(total.mean()),
    "p50": float(np.percentile(total, 50)),
    "p99": float(np.percentile(total, 99)),
    "per_step": [
      float(x) for x in per_step[: used[-1] + 1 if len(used) else 0]
    ],
    "scored_fraction": float(total.mean() / num_items),
  }
