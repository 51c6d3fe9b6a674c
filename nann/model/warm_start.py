"""Item factors from counting: what a scorer starts from instead of noise.

A truncated singular value decomposition of the users x items matrix, found by
randomized subspace iteration. Users are read in blocks, so that memory holds
the events, two item tables and one block; the time is proportional to events
times width. NumPy and SciPy only; the training users' events come in as arrays.

Source: Halko, Martinsson & Tropp 2011, algorithm 4.4 (on A^T A).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse

_OVERSAMPLING, _ITERATIONS = 16, 6
# How often `compute` goes through all users to find the factors.
PASSES = _ITERATIONS + 1
# A block of users costs a pass over the items' factors: at least so many events
# of it, and so many for each item.
_BLOCK_EVENTS, _EVENTS_PER_ITEM = 4_000_000, 4
_BLOCK_ROWS = 1 << 16
# Below this share of the largest squared length a direction is rounding.
_LEAST_SHARE = 1e-13
# A = U^-0.5 X N^-0.35 with the users' and the items' numbers of partners. Half
# is the usual exponent of both; for the items less was far better on a
# catalogue with many rare items, and no worse on one with few.
_USER_POWER, _ITEM_POWER = 0.5, 0.35
_LOWEST_LOG_GAIN, _HIGHEST_LOG_GAIN = -12.0, 6.0
_SAMPLE_USERS, _SAMPLE_ITEMS, _SAMPLE_LENGTH = 256, 1000, 50


class WarmStart(NamedTuple):
  """Where training begins.

  Item j is as likely after item i as exp(gain_in[i]) exp(gain_out[j]) scale
  times the product of their directions says.

  Attributes:
    directions: [I + 1, D] float32 by item id, of length 1; 0 for items that no
      training user has.
    gain_in: [I + 1] float32, log of the weight of an item in a history.
    gain_out: [I + 1] float32, log of the weight of an item that is scored.
    scale: Makes the standard deviation of a history's scores 1.
  """

  directions: np.ndarray
  gain_in: np.ndarray
  gain_out: np.ndarray
  scale: float


def compute(
  item_ids: np.ndarray,
  row_splits: np.ndarray,
  num_items: int,
  width: int,
  seed: int,
  block_events: int | None = None,
  progress: Callable[[int], None] = lambda num_users: None,
) -> WarmStart:
  """Factors the events of the training users.

  Args:
    item_ids: [E] item ids, sequences one after the other.
    row_splits: [U + 1] where each user's sequence begins.
    num_items: I.
    width: D.
    seed: Seed of the random start.
    block_events: Events that are held as a sparse matrix at a time.
    progress: Is told how many users were gone through, PASSES times all.
  """
  if block_events is None:
    block_events = max(_BLOCK_EVENTS, _EVENTS_PER_ITEM * num_items)
  users_of_item = np.zeros(num_items + 1)
  for block in _blocks(item_ids, row_splits, num_items, block_events):
    users_of_item += np.asarray(block.sum(axis=0)).ravel()
  users_of_item[0] = 0.0
  weight = np.maximum(users_of_item, 1.0) ** -_ITEM_POWER
  weight[0] = 0.0

  def normalized() -> Iterator[scipy.sparse.csr_matrix]:
    for block in _blocks(item_ids, row_splits, num_items, block_events):
      lengths = np.asarray(block.sum(axis=1)).ravel()
      rows = np.maximum(lengths, 1.0) ** -_USER_POWER
      scaled = scipy.sparse.diags(rows) @ block @ scipy.sparse.diags(weight)
      yield scaled.tocsr().astype(np.float32)
      progress(block.shape[0])

  factors = right_factors(normalized, num_items + 1, width, seed)
  length = np.linalg.norm(factors, axis=1)
  seen = users_of_item > 0
  factors /= np.maximum(length, 1e-9)[:, None]
  factors[~seen] = 0.0
  log_length = np.log(np.maximum(length, 1e-9))
  popularity = np.log(np.maximum(users_of_item, 1.0))
  gain_in = _centered(log_length - _ITEM_POWER * popularity, seen)
  gain_out = _centered(log_length + _ITEM_POWER * popularity, seen)
  start = WarmStart(factors, gain_in, gain_out, 1.0)
  deviation = _deviation(start, item_ids, row_splits, seed)
  return start._replace(scale=1.0 / max(deviation, 1e-6))


def _blocks(
  item_ids: np.ndarray,
  row_splits: np.ndarray,
  num_items: int,
  block_events: int,
) -> Iterator[scipy.sparse.csr_matrix]:
  """Yields blocks of users x (items + 1), 1 where a user has an item."""
  begin, num_users = 0, len(row_splits) - 1
  while begin < num_users:
    limit = row_splits[begin] + block_events
    end = int(np.searchsorted(row_splits, limit, side="right")) - 1
    end = min(max(end, begin + 1), num_users)
    first, last = row_splits[begin], row_splits[end]
    block = scipy.sparse.csr_matrix(
      (
        np.ones(last - first, np.float32),
        # A copy: what follows sorts the indices where they lie.
        item_ids[first:last].copy(),
        row_splits[begin : end + 1] - first,
      ),
      shape=(end - begin, num_items + 1),
    )
    block.sum_duplicates()
    block.data[:] = 1.0
    yield block
    begin = end


def right_factors(
  blocks: Callable[[], Iterator[scipy.sparse.csr_matrix]],
  num_columns: int,
  width: int,
  seed: int,
) -> np.ndarray:
  """Returns V S^0.5, [num_columns, width], of the matrix made of the blocks.

  Three tables of num_columns x width lie in memory at once, a little wider.
  """
  rank = min(width + _OVERSAMPLING, num_columns)
  rng = np.random.default_rng(seed)
  basis = rng.standard_normal((num_columns, rank), dtype=np.float32)
  for _ in range(_ITERATIONS):
    _make_orthonormal(basis)
    image = np.zeros_like(basis)
    for block in blocks():
      image += block.T @ (block @ basis)
    basis = image
  del image
  # What rounding left the first time, the second time takes.
  _make_orthonormal(basis)
  _make_orthonormal(basis)
  # The Gram matrix within the subspace: its eigenvectors turn the basis.
  gram = np.zeros((rank, rank))
  for block in blocks():
    part = block @ basis
    gram += part.T.astype(np.float64) @ part
  values, vectors = np.linalg.eigh(gram)
  order = np.argsort(-values)[:width]
  factors = basis @ vectors[:, order].astype(np.float32)
  del basis
  singular = np.sqrt(np.maximum(values[order], 0.0))
  # The sign of a singular vector is free: fixed, so that runs agree.
  largest = np.array([np.abs(column).argmax() for column in factors.T])
  signs = np.sign(factors[largest, np.arange(len(order))])
  factors *= np.where(signs == 0, 1.0, signs) * np.sqrt(singular)
  if factors.shape[1] == width:
    return factors
  return np.pad(factors, [(0, 0), (0, width - factors.shape[1])])


def _make_orthonormal(basis: np.ndarray) -> None:
  """Changes a basis [n, r] float32 to an orthonormal one of its space.

  By its Gram matrix, in blocks of rows: a QR decomposition would take several
  copies of the basis, in double precision. Where the space has fewer than r
  dimensions, columns of 0 are left.
  """
  rows = [
    slice(begin, begin + _BLOCK_ROWS)
    for begin in range(0, len(basis), _BLOCK_ROWS)
  ]
  gram = np.zeros((basis.shape[1], basis.shape[1]))
  for part in rows:
    doubled = basis[part].astype(np.float64)
    gram += doubled.T @ doubled
  values, vectors = np.linalg.eigh(gram)
  is_there = values > _LEAST_SHARE * values.max(initial=0.0)
  lengths = np.sqrt(np.where(is_there, values, 1.0))
  turn = (vectors * np.where(is_there, 1.0 / lengths, 0.0)).astype(np.float32)
  for part in rows:
    basis[part] = basis[part] @ turn


def _centered(log_gain: np.ndarray, seen: np.ndarray) -> np.ndarray:
  """Returns gains around 0 over the items that occur; 0 for the others."""
  if not seen.any():
    return np.zeros(len(log_gain), np.float32)
  around = np.clip(
    log_gain - log_gain[seen].mean(), _LOWEST_LOG_GAIN, _HIGHEST_LOG_GAIN
  )
  return np.where(seen, around, 0.0).astype(np.float32)


def _deviation(
  start: WarmStart, item_ids: np.ndarray, row_splits: np.ndarray, seed: int
) -> float:
  """Returns the standard deviation of some histories' scores of some items."""
  rng = np.random.default_rng([seed, 1])
  users = rng.permutation(len(row_splits) - 1)[:_SAMPLE_USERS]
  sums = []
  for user in users:
    begin, end = row_splits[user : user + 2]
    history = item_ids[begin : min(end, begin + _SAMPLE_LENGTH)]
    weighted = (
      start.directions[history] * np.exp(start.gain_in[history])[:, None]
    )
    sums.append(weighted.sum(axis=0) / max(len(history), 1) ** 0.5)
  items = rng.choice(item_ids, _SAMPLE_ITEMS)
  outputs = start.directions[items] * np.exp(start.gain_out[items])[:, None]
  return float((np.stack(sums) @ outputs.T).std())
