"""Which rows may be returned, for the tests of the search."""

import dataclasses

import numpy as np

from tests import oracle


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
