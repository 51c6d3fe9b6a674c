"""Exact answers inside a graph: every item is scored, or every allowed one.

`brute_force` is the same for arrays that lie in this process.
"""

from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from nann.ops import Found

# Scored at once.
_ROWS = 4096


class Scores(Protocol):
  """Returns [B, n] float32 scores of rows [n] int32."""

  def __call__(self, user_state: Any, rows: tf.Tensor) -> tf.Tensor: ...


def scan_all(
  scores_of: Scores, user_state: Any, num_rows: int, k: tf.Tensor
) -> Found:
  """Finds the best of all rows.

  Args:
    scores_of: Scores rows.
    user_state: Nest of [B, *].
    num_rows: I.
    k: K, a scalar.

  Returns:
    rows [B, K], scores [B, K], num_scored [B, 1].
  """
  rows = tf.range(num_rows)
  scores = _in_blocks(scores_of, user_state, rows)
  rows, scores = _best(rows, scores, k)
  return Found(rows, scores, tf.fill([tf.shape(scores)[0], 1], num_rows))


def scan_allowed(
  scores_of: Scores,
  user_state: Any,
  num_rows: int,
  k: tf.Tensor,
  allowed: tf.Tensor,
  denied: tf.Tensor,
) -> Found:
  """Finds the best of the rows that may be returned.

  Args:
    scores_of: Scores rows.
    user_state: Nest of [B, *].
    num_rows: I.
    k: K, a scalar.
    allowed: [B, (I + 7) / 8] uint8 bits, or [0, 0]: all.
    denied: [B, X] int32 rows that may not be returned, padded with -1.

  Returns:
    rows [B, K], scores [B, K], num_scored [B, 1].
  """
  num_users = tf.shape(denied)[0]
  mask = tf.cond(
    tf.shape(allowed)[0] > 0,
    lambda: _unpacked(allowed, num_rows),
    lambda: tf.ones([num_users, num_rows], tf.bool),
  )

  def of_user(parts: Any) -> tuple[tf.Tensor, ...]:
    user, mask, denied = parts
    user = tf.nest.map_structure(lambda tensor: tensor[None], user)
    denied = tf.boolean_mask(denied, denied >= 0)[:, None]
    mask = tf.tensor_scatter_nd_update(
      mask, denied, tf.zeros_like(denied[:, 0], tf.bool)
    )
    rows = tf.cast(tf.where(mask)[:, 0], tf.int32)
    found, scores = _best(rows, _in_blocks(scores_of, user, rows), k)
    return found[0], scores[0], tf.shape(rows)

  spec = tf.TensorSpec
  return Found(
    *tf.map_fn(
      of_user,
      (user_state, mask, denied),
      fn_output_signature=(
        spec([None], tf.int32),
        spec([None], tf.float32),
        spec([1], tf.int32),
      ),
    )
  )


def _in_blocks(
  scores_of: Scores, user_state: Any, rows: tf.Tensor
) -> tf.Tensor:
  """Returns [B, n] scores, so many rows at a time."""
  if rows.shape[0] is not None and rows.shape[0] <= _ROWS:
    return scores_of(user_state, rows)
  num_users = tf.shape(tf.nest.flatten(user_state)[0])[0]

  def next_block(begin: tf.Tensor, scores: tf.Tensor) -> tuple[tf.Tensor, ...]:
    block = scores_of(user_state, rows[begin : begin + _ROWS])
    return begin + _ROWS, tf.concat([scores, block], axis=1)

  _, scores = tf.while_loop(
    lambda begin, scores: begin < tf.shape(rows)[0],
    next_block,
    (0, tf.zeros([num_users, 0])),
    shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None])),
  )
  return scores


def _best(
  rows: tf.Tensor, scores: tf.Tensor, k: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns the best, padded: score descending, then row ascending.

  Args:
    rows: [n] int32, ascending.
    scores: [B, n] float32.
    k: K.
  """
  number = tf.minimum(k, tf.shape(rows)[0])
  # Of equal scores it takes the first.
  scores, places = tf.math.top_k(scores, number)
  missing = [[0, 0], [0, k - number]]
  return (
    tf.pad(tf.gather(rows, places), missing, constant_values=-1),
    tf.pad(scores, missing, constant_values=-np.inf),
  )


def _unpacked(bits: tf.Tensor, num_rows: int) -> tf.Tensor:
  """Returns [B, I] bool of [B, (I + 7) / 8] uint8."""
  of_byte = tf.constant(1 << np.arange(8), tf.uint8)
  mask = tf.bitwise.bitwise_and(bits[:, :, None], of_byte) > 0
  return tf.reshape(mask, [tf.shape(bits)[0], -1])[:, :num_rows]
