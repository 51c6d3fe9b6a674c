"""Worlds and questions as nann._core takes them."""

import dataclasses
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


@dataclasses.dataclass(frozen=True)
class Filter:
  """Rows that may be returned, for each user.

  Attributes:
    allowed: [B, (I + 7) / 8] uint8 bits, or None.
    denied: [B, X] int32 padded with -1, or None.
  """

  allowed: np.ndarray | None = None
  denied: np.ndarray | None = None

  def allows(self, user: int) -> oracle.Allowed:
    def is_allowed(row: int) -> bool:
      if self.denied is not None and row in self.denied[user]:
        return False
      return self.allowed is None or bool(
        self.allowed[user, row // 8] >> (row % 8) & 1
      )

    return is_allowed


def random_filter(
  rng: np.random.Generator, num_users: int, num_rows: int
) -> Filter:
  """Makes a bitmap, a list, or both; from next to nothing to everything."""
  share = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])
  bits = rng.random((num_users, num_rows)) < share
  allowed = np.packbits(bits, axis=1, bitorder="little")
  # Bits beyond the last row mean nothing.
  if num_rows % 8:
    allowed[:, -1] |= np.uint8(0xFF << num_rows % 8 & 0xFF)
  denied = rng.integers(-1, num_rows, (num_users, int(rng.integers(1, 9))))
  denied = denied.astype(np.int32)
  kind = rng.integers(3)
  return Filter(None if kind == 0 else allowed, None if kind == 1 else denied)


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
