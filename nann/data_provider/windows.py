"""Cuts (history, target) windows out of user sequences, many at a time.

The one definition of a window: the target is the item at some position of a
sequence, the history is what stands before it, at most L items, oldest first,
padded with 0 at the end.
"""

import numpy as np
import tensorflow as tf


def num_windows(lengths: np.ndarray, min_length: int) -> np.ndarray:
  """Returns how many targets have at least `min_length` items before them."""
  return np.maximum(lengths - min_length, 0)


def cut(
  item_ids: tf.Tensor,
  begins: tf.Tensor,
  targets: tf.Tensor,
  max_length: int,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Cuts one window for each target.

  Args:
    item_ids: [E] integers, sequences one after the other.
    begins: [B] int64, where the target's sequence begins in `item_ids`.
    targets: [B] int64, where the target stands in `item_ids`.
    max_length: L.

  Returns:
    histories: [B, L] int64.
    target_item_ids: [B] int64.
  """
  first = tf.maximum(begins, targets - max_length)
  positions = first[:, None] + tf.range(max_length, dtype=tf.int64)  # [B, L]
  before_target = positions < targets[:, None]
  histories = tf.gather(item_ids, tf.where(before_target, positions, 0))
  histories = tf.where(before_target, tf.cast(histories, tf.int64), 0)
  return histories, tf.cast(tf.gather(item_ids, targets), tf.int64)
