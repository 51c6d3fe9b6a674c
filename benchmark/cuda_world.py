"""A synthetic world for timing: graphs, item state and users of any size.

Items lie on a ring; a row's neighbors are near it, but for some anywhere. What
a walk costs depends on how many rows it meets and where they lie in memory, not
on what they mean. Levels are as HNSW with M = 32 has them.
"""

import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmark import cuda_library as cuda
from benchmark import cuda_scorers as scorers

HIDDEN, LENGTH, LAYERS = 128, 50, (64, 32)
DEGREE, UPPER_DEGREE = 40, 32
_SHARE_OF_UPPER_LEVEL = 32
_FAR_NEIGHBORS = 8
_NEAR = 64
_CHUNK = 1 << 18


class Sizes(NamedTuple):
  """Widths of the attention scorer; the paper's by default."""

  query_width: int = HIDDEN
  length: int = LENGTH
  width: int = HIDDEN
  layers: tuple[int, ...] = LAYERS

  def multiply_adds(self) -> int:
    """Of one pair."""
    widths = [self.width, *self.layers, 1]
    dense = sum(a * b for a, b in itertools.pairwise(widths))
    return self.length * (self.query_width + self.width) + dense

  def state_bytes(self, bytes_of_number: int) -> int:
    """Of one item."""
    return (self.query_width + self.width) * bytes_of_number


def _ring(
  rng: np.random.Generator, rows: np.ndarray, degree: int
) -> np.ndarray:
  """Neighbors [n, degree] of rows [n] among themselves, as places in `rows`."""
  number = len(rows)
  near = rng.integers(1, _NEAR, (number, degree - _FAR_NEIGHBORS))
  near *= rng.choice([-1, 1], near.shape)
  places = (np.arange(number)[:, None] + near) % number
  far = rng.integers(0, number, (number, _FAR_NEIGHBORS))
  return np.concatenate([places, far], axis=1)


@functools.lru_cache(maxsize=2)
def make_levels(
  num_rows: int, seed: int = 1
) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
  """Makes levels 0 and 1 and the entry points above them."""
  rng = np.random.default_rng(seed)
  everything = np.arange(num_rows, dtype=np.int32)
  values = _ring(rng, everything, DEGREE).astype(np.int32).reshape(-1)
  splits = np.arange(num_rows + 1, dtype=np.int64) * DEGREE
  upper = np.sort(
    rng.permutation(num_rows)[: max(2, num_rows // _SHARE_OF_UPPER_LEVEL)]
  ).astype(np.int32)
  lengths = np.zeros(num_rows, np.int64)
  lengths[upper] = UPPER_DEGREE
  upper_values = upper[_ring(rng, upper, UPPER_DEGREE)].reshape(-1)
  upper_splits = np.concatenate([[0], np.cumsum(lengths)])
  entries = upper[::_SHARE_OF_UPPER_LEVEL].copy()
  return [(values, splits), (upper_values, upper_splits)], entries


def state_parts(num_rows: int, width: int, seed: int) -> Iterator[np.ndarray]:
  """Makes random numbers [I, width] float32, part by part."""
  rng = np.random.default_rng(seed)
  for first in range(0, num_rows, _CHUNK):
    number = min(_CHUNK, num_rows - first)
    yield 2 * rng.random((number, width), np.float32) - 1


def make_state(
  library: cuda.Library, num_rows: int, width: int, kind: int, seed: int
) -> cuda.Array:
  """Puts random numbers [I, width] of a type on the device."""
  dtype = scorers.as_type(np.zeros(1, np.float32), kind).dtype
  state = cuda.Array(library, [num_rows, width], dtype)
  first = 0
  for part in state_parts(num_rows, width, seed):
    state.set_rows(first, scorers.as_type(part, kind))
    first += len(part)
  return state


def make_users(
  num_users: int, sizes: Sizes, seed: int = 3
) -> tuple[scorers.PairUsers, scorers.PairWeights]:
  """Makes user state and weights around 1."""
  rng = np.random.default_rng(seed)

  def draw(*shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)

  widths = [sizes.width, *sizes.layers]
  users = scorers.PairUsers(
    draw(num_users, sizes.query_width, sizes.length) / 4,
    np.zeros((num_users, sizes.length), np.float32),
    draw(num_users, sizes.length, sizes.width),
  )
  kernels = [
    draw(a, b) / np.sqrt(a).astype(np.float32)
    for a, b in itertools.pairwise(widths)
  ]
  return users, scorers.PairWeights(
    [np.full(width, 0.25, np.float32) for width in widths],
    kernels,
    [draw(width) for width in sizes.layers],
    draw(widths[-1]),
  )


def no_entries(num_users: int) -> np.ndarray:
  return np.zeros((num_users, 0), np.int32)


def make_entries(num_users: int, num_rows: int, length: int) -> np.ndarray:
  """Makes histories [B, length] for policy best first."""
  rng = np.random.default_rng(4)
  return rng.integers(0, num_rows, (num_users, length)).astype(np.int32)
