"""What stands near an item in the sequences of others, and how much it says.

Factors of the positive pointwise mutual information of items that are at most
five places apart. They are counted on the sequences that training sees, so in
training they would know the answer and the other parts would lean on them.
Therefore training leaves them out, and their weight is chosen afterwards, on
validation users.

Source: Levy, Goldberg & Dagan 2015 (PPMI, smoothed; a symmetric factorization).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse
import tensorflow as tf

from nann.model.scorer import Items
from nann.model.tables import rows_of
from nann.model.warm_start import right_factors

_REACH = 5
# Their smoothing is 0.75 on one side; here half of it on either, so that one
# table serves histories and candidates.
_SMOOTHING = 0.875
_HALF_AGE = 5.0
_MAX_EVENTS = 10_000_000
_BLOCK_ROWS = 1 << 16


class Neighbors(NamedTuple):
  """F and s with F diag(s) F^T near the matrix of mutual information.

  Attributes:
    factors: [I + 1, W] float32 by item id; row 0 is 0.
    signs: [W] float32, 1 or -1.
  """

  factors: np.ndarray
  signs: np.ndarray


def compute(
  item_ids: np.ndarray,
  row_splits: np.ndarray,
  num_items: int,
  width: int,
  seed: int,
  max_events: int = _MAX_EVENTS,
) -> Neighbors:
  """Counts and factors; time and memory are bounded by `max_events`.

  Args:
    item_ids: [E] item ids, sequences one after the other.
    row_splits: [U + 1] where each user's sequence begins.
    num_items: I.
    width: W.
    seed: Seed of the random start, and of the users where there are too many.
    max_events: With more events, a share of the users is drawn at random.
  """
  lengths = np.diff(row_splits)
  user = np.repeat(np.arange(len(lengths)), lengths)
  if len(item_ids) > max_events:
    share = max_events / len(item_ids)
    drawn = np.random.default_rng([seed, 2]).random(len(lengths)) < share
    item_ids, user = item_ids[drawn[user]], user[drawn[user]]
  information = _mutual_information(item_ids, user, num_items)

  def whole() -> Iterator[scipy.sparse.csr_matrix]:
    yield information

  factors = right_factors(whole, num_items + 1, width, seed)
  signs = np.sign((factors * (information @ factors)).sum(axis=0))
  return Neighbors(factors, np.where(signs < 0, -1.0, 1.0).astype(np.float32))


def _mutual_information(
  item_ids: np.ndarray, user: np.ndarray, num_items: int
) -> scipy.sparse.csr_matrix:
  """Returns [I + 1, I + 1], symmetric, 0 for pairs that are not near."""
  shape = (num_items + 1, num_items + 1)
  counts = scipy.sparse.csr_matrix(shape, dtype=np.float32)
  for distance in range(1, _REACH + 1):
    a, b = item_ids[:-distance], item_ids[distance:]
    near = (user[:-distance] == user[distance:]) & (a != b)
    weight = np.full(int(near.sum()), distance**-0.5, np.float32)
    counts += scipy.sparse.csr_matrix((weight, (a[near], b[near])), shape)
  pairs = (counts + counts.T).tocsr()
  del counts
  total = np.asarray(pairs.sum(axis=1), np.float64).ravel()
  smooth = total**_SMOOTHING
  scale = smooth.sum() ** 2 / max(total.sum(), 1e-9)
  lengths = np.diff(pairs.indptr)
  for begin in range(0, num_items + 1, _BLOCK_ROWS):
    rows = slice(begin, begin + _BLOCK_ROWS)
    ends = pairs.indptr[begin], pairs.indptr[min(rows.stop, num_items + 1)]
    own = np.repeat(smooth[rows], lengths[rows])
    independent = own * smooth[pairs.indices[slice(*ends)]]
    found = pairs.data[slice(*ends)]
    found[:] = np.maximum(np.log(scale * found / independent), 0.0)
  pairs.eliminate_zeros()
  return pairs


class NeighborTerm(tf.Module):
  """The mean information of a history's items on an item, times a weight.

  Attributes:
    weight: Scalar float32, 0 until it is chosen.
  """

  def __init__(self, num_items: int, width: int) -> None:
    super().__init__(name="neighbor_term")

    def fixed(shape: list[int], name: str) -> tf.Variable:
      return tf.Variable(tf.zeros(shape), trainable=False, name=name)

    self.factors = fixed([num_items + 1, width], "ht_neighbors")
    self.signs = fixed([width], "signs")
    self.weight = fixed([], "weight")

  def begin_with(self, neighbors: Neighbors) -> None:
    """Takes the factors."""
    self.factors.assign(neighbors.factors)
    self.signs.assign(neighbors.signs)

  def of_items(self, items: Items) -> tf.Tensor:
    """Returns [..., W] float32: what a history's vector is multiplied with."""
    return rows_of(self.factors, items.item_ids)

  def after_positions(
    self, history: Items, valid: tf.Tensor, ages: tf.Tensor
  ) -> tf.Tensor:
    """Returns [B, T, W] float32: of a history up to some of its positions.

    Args:
      history: Items [B, L].
      valid: [B, L] float32, 0 for padding.
      ages: [B or 1, T, L] int32, how long before each of them position l lies.
    """
    age = tf.cast(ages, tf.float32)
    weights = tf.where(ages >= 0, 1.0 / (1.0 + age / _HALF_AGE), 0.0)
    factors = rows_of(self.factors, history.item_ids) * valid[..., None]
    total = tf.matmul(weights, valid[..., None])
    mean = tf.matmul(weights, factors) / tf.maximum(total, 1e-6)
    return self.weight * self.signs * mean
