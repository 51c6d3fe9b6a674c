"""Answers queries as a plan says: by walking the graph, by scanning, or by
whichever costs less."""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np

from nann.retrieval import brute_force
from nann.retrieval import result as results
from nann.retrieval.cost_model import CostModel
from nann.retrieval.result import Policy, SearchResult
from nann.retrieval.retriever import Retriever

_USERS = 64


@dataclasses.dataclass(frozen=True)
class Plan:
  """How queries are answered.

  Attributes:
    mode: graph, scan or auto.
    policy: How the graph is walked.
    cost: Decides in mode auto.
    exclude_history: Return no item of the history.
  """

  mode: str
  policy: Policy
  cost: CostModel
  exclude_history: bool = False


def answer(
  retriever: Retriever,
  plan: Plan,
  histories: np.ndarray,
  k: int,
  progress: Callable[[int], None] = lambda users: None,
  allowed: np.ndarray | None = None,
) -> Iterator[SearchResult]:
  """Answers many users, a batch at a time.

  Args:
    retriever: Scorer, items and graph.
    plan: How.
    histories: [n, L] int64 item ids.
    k: Results per user; clamped to the number of items.
    progress: Called with the number of users of each batch.
    allowed: [n, (I + 7) / 8] uint8, bits of the rows that may be returned, as
      for `Retriever.search`; None: all.
  """
  k = min(k, len(retriever.items))
  scan = functools.partial(brute_force.exact_search, retriever, k=k)
  walk = functools.partial(retriever.search, policy=plan.policy, k=k)
  scanned = uses_scan(plan, len(retriever.items), len(histories), allowed)
  for begin in range(0, len(histories), _USERS):
    part = slice(begin, begin + _USERS)
    rows: np.ndarray = np.arange(begin, min(begin + _USERS, len(histories)))
    of_scan, of_walk = rows[scanned[part]], rows[~scanned[part]]
    parts: list[SearchResult] = []
    for users, search in ((of_scan, scan), (of_walk, walk)):
      if len(users):
        parts += search(
          histories=histories[users],
          allowed=None if allowed is None else allowed[users],
          exclude_history=plan.exclude_history,
        )
    order = np.argsort(np.concatenate([of_scan, of_walk]))
    both = results.concatenate(parts)
    progress(len(rows))
    yield SearchResult(
      both.rows[order], both.scores[order], both.num_scored[order]
    )


def uses_scan(
  plan: Plan, num_rows: int, num_users: int, allowed: np.ndarray | None
) -> np.ndarray:
  """Returns [num_users] bool: whose query is answered by a scan."""
  if plan.mode != "auto":
    return np.full(num_users, plan.mode == "scan")
  if allowed is None:
    return np.full(num_users, plan.cost.prefers_scan(num_rows))
  counts = np.unpackbits(allowed, axis=1, bitorder="little")
  shares = counts[:, :num_rows].mean(axis=1)
  return np.array([plan.cost.prefers_scan(num_rows, share) for share in shares])
