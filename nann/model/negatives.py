"""Draws negatives with probability proportional to count^alpha.

An alias table answers a draw with two lookups whatever the number of items,
and takes 8 bytes an item. A draw is a pure function of (seed, step).

Source: A. J. Walker 1977; built by prefix sums and binary search after
Hubschle-Schneider & Sanders, "Parallel Weighted Random Sampling", 2022,
instead of a loop over the items.
"""

import dataclasses

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class AliasTable:
  """A discrete distribution over 0..I-1.

  Bucket i gives i with probability keep[i], else alias[i]; all buckets are
  equally likely.

  Attributes:
    keep: [I] float32.
    alias: [I] int32.
  """

  keep: np.ndarray
  alias: np.ndarray


def alias_table(weights: np.ndarray) -> AliasTable:
  """Builds the table of a distribution proportional to `weights`.

  Args:
    weights: [I] float64, at least 0, not all 0.
  """
  number = len(weights)
  share = weights * (number / weights.sum())  # Mean 1: a bucket's capacity.
  light = np.flatnonzero(share < 1.0)
  heavy = np.flatnonzero(share >= 1.0)
  keep = np.ones(number, dtype=np.float32)
  alias = np.arange(number, dtype=np.int32)
  if not len(light):
    return AliasTable(keep, alias)
  # What the light buckets lack, and what the heavy items have to give. The
  # heavy items are poured out in order, the light buckets filled in order.
  lacking = np.cumsum(1.0 - share[light])
  giving = np.cumsum(share[heavy] - 1.0)
  before = np.concatenate([[0.0], lacking[:-1]])
  donor = np.searchsorted(giving, before, side="right")
  donor = np.minimum(donor, len(heavy) - 1)
  keep[light] = share[light]
  alias[light] = heavy[donor]
  # The last bucket that a heavy item fills takes more than it had to give:
  # the item's own bucket is short by that, and the next heavy item fills it.
  filled = np.searchsorted(lacking, giving[:-1], side="right")
  reached = filled < len(light)
  short = lacking[np.minimum(filled, len(light) - 1)] - giving[:-1]
  donors = heavy[:-1][reached]
  keep[donors] = np.clip(1.0 - short[reached], 0.0, 1.0)
  alias[donors] = heavy[1:][reached]
  return AliasTable(keep, alias)


class UnigramSampler:
  """Negatives for training, and how often each item is expected among them."""

  def __init__(
    self, counts: np.ndarray, alpha: float, num_negatives: int, seed: int
  ) -> None:
    """Prepares the distribution.

    Args:
      counts: [I] float64, training events of item 1..I.
      alpha: Exponent; 1 draws by frequency, 0 draws every item that occurs
        alike.
      num_negatives: N, negatives for each positive.
      seed: Seed of the draws.

    Raises:
      ValueError: No item occurs.
    """
    if not counts.any():
      raise ValueError("no item occurs in training; there is nothing to sample")
    weights = np.where(counts > 0, counts, 1.0) ** alpha * (counts > 0)
    table = alias_table(weights)
    # Tensors made here are captured by the input's graph; made in `draw` they
    # would be constants of it, and the graph is copied many times.
    self._keep = tf.constant(table.keep)
    self._alias = tf.constant(table.alias)
    self._num_negatives = num_negatives
    self._seed = seed
    with np.errstate(divide="ignore"):
      expected = np.log(num_negatives * weights / weights.sum())
    # Items that never occur are never drawn; the floor keeps a target among
    # them finite.
    floor = expected[counts > 0].min()
    self._log_expected = np.maximum(expected, floor).astype(np.float32)

  def log_expected_count(self) -> np.ndarray:
    """Returns [I + 1] float32: log of an item's expected draws, by item id.

    Source: Bengio & Senecal 2008, the correction of sampled softmax, here with
    N independent draws: log(N p).
    """
    return np.concatenate([[0.0], self._log_expected]).astype(np.float32)

  def draw(self, step: tf.Tensor, num_rows: int) -> tf.Tensor:
    """Draws the negatives of a step.

    Args:
      step: Scalar int64.
      num_rows: B.

    Returns:
      [B, N] int64 item ids, independent draws with replacement.
    """
    shape = [num_rows, self._num_negatives]
    seed = tf.stack(
      [tf.constant(self._seed, tf.int64), tf.cast(step, tf.int64)]
    )
    bucket = tf.random.stateless_uniform(
      shape, seed, 0, self._keep.shape[0], tf.int32
    )
    # Another stream of the same step.
    coin = tf.random.stateless_uniform(shape, tf.bitwise.invert(seed))
    own = coin < tf.gather(self._keep, bucket)
    other = tf.gather(self._alias, bucket)
    return tf.cast(tf.where(own, bucket, other), tf.int64) + 1
