"""Answers of several methods, compared on the same held-out users."""

import dataclasses
from typing import Any

import numpy as np

from nann.retrieval import metrics


@dataclasses.dataclass(frozen=True)
class Recall:
  """How often a method returned the held-out item.

  Attributes:
    method: Its name.
    k: Answers that count.
    all_targets: Over all users.
    novel_targets: Over the users whose target is not in their history.
    precision: all_targets / k.
    f1: Of recall and precision.
  """

  method: str
  k: int
  all_targets: metrics.Share
  novel_targets: metrics.Share
  precision: float
  f1: float

  def to_json(self) -> dict[str, Any]:
    return dataclasses.asdict(self)


def recall(
  method: str,
  item_ids: np.ndarray,
  targets: np.ndarray,
  novel: np.ndarray,
  k: int,
) -> Recall:
  """Measures the recall of a method at k.

  Args:
    method: Its name.
    item_ids: [n, K] int64 answers, best first, 0 where there is none.
    targets: [n] int64.
    novel: [n] bool, the target is not in the history.
    k: Answers that count.
  """
  found = metrics.hits(item_ids, targets, k)
  everyone = metrics.share(found)
  precision = everyone.mean / k
  return Recall(
    method,
    k,
    everyone,
    metrics.share(found[novel]),
    precision,
    metrics.f1(everyone.mean, precision),
  )


@dataclasses.dataclass(frozen=True)
class Agreement:
  """How much of the exact answer a search gives, on the same users.

  Attributes:
    k: Answers that count.
    coverage: Mean share of the exact top k that was found.
    coverage_p5, coverage_min: Of the worst users.
    recall_all, recall_retrieval: Of the exact and of the found answers.
    delta: Share of the recall that the search loses.
  """

  k: int
  coverage: metrics.Share
  coverage_p5: float
  coverage_min: float
  recall_all: metrics.Share
  recall_retrieval: metrics.Share
  delta: float

  def to_json(self) -> dict[str, Any]:
    return dataclasses.asdict(self)


def agreement(
  found: np.ndarray, exact: np.ndarray, targets: np.ndarray, k: int
) -> Agreement:
  """Compares the search with the exact scan.

  Args:
    found: [n, K] int64 item ids that the search returned.
    exact: [n, K] int64 item ids of the exact scan.
    targets: [n] int64.
    k: Answers that count.
  """
  coverage = metrics.coverage(found, exact, k)
  recall_all = metrics.share(metrics.hits(exact, targets, k))
  recall_retrieval = metrics.share(metrics.hits(found, targets, k))
  return Agreement(
    k,
    metrics.share(coverage),
    float(np.percentile(coverage, 5)),
    float(coverage.min()),
    recall_all,
    recall_retrieval,
    metrics.delta(recall_all.mean, recall_retrieval.mean),
  )


def to_item_ids(rows: np.ndarray, item_ids: np.ndarray) -> np.ndarray:
  """Translates answers from rows [n, K] to item ids, 0 where there is none."""
  return np.where(rows >= 0, item_ids[np.maximum(rows, 0)], 0)
