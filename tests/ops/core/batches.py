"""Worlds and questions as nann._core takes them."""

from collections.abc import Sequence

import numpy as np

from nann import _core
from nann.index.graph import HnswGraph
from tests import oracle


def core_graph(graph: HnswGraph) -> _core.Graph:
  levels = [(level.values, level.row_splits) for level in graph.levels]
  return _core.Graph(levels, graph.entry_points)


def batch(
  policy: _core.PaperPolicy | _core.BestFirstPolicy,
  k: int,
  expand: np.ndarray | Sequence[Sequence[int]],
  only_score: np.ndarray | None = None,
  allowed: np.ndarray | None = None,
  denied: np.ndarray | None = None,
) -> _core.Batch:
  """Makes a batch; what is left out is empty."""
  none = np.zeros((len(expand), 0), np.int32)
  return _core.Batch(
    policy=policy,
    k=k,
    expand=expand,
    only_score=none if only_score is None else only_score,
    allowed=np.zeros((0, 0), np.uint8) if allowed is None else allowed,
    denied=none if denied is None else denied,
  )


def found_of(
  answer: tuple[np.ndarray, np.ndarray, np.ndarray], user: int
) -> oracle.Found:
  """Returns one user's answer without its padding, checking that it is one."""
  rows, scores, num_scored = (part[user] for part in answer)
  number = int((rows >= 0).sum())
  assert (rows[number:] == -1).all()
  assert (scores[number:] == -np.inf).all()
  return oracle.Found(
    rows[:number].tolist(), scores[:number].tolist(), num_scored.tolist()
  )
