"""The pair part of a scorer as one op instead of one or two dozen.

A search scores a hundred items at a time: between small ops, most of the time
goes into starting them.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nann import ops
from nann.model.scorer import (
  HistoryNetwork,
  Items,
  PairNetwork,
  ScoringParts,
  TermNetwork,
)

_LANES = 16
_MASKED_LOGIT = -1e9


def can_fuse(parts: ScoringParts) -> bool:
  """Returns whether the op has the form and the widths of the pair part."""
  network = parts.network
  if network is None:
    return False
  if isinstance(network, TermNetwork):
    return network.query_width % _LANES == 0
  widths = [slope.shape[0] for slope in network.slopes]
  return all(width % _LANES == 0 for width in widths)


def fuse(parts: ScoringParts) -> ScoringParts:
  """Returns the same functions, with the pair part as one op."""
  if isinstance(parts.network, TermNetwork):
    max_logit = parts.network.max_logit
    return parts._replace(
      score=lambda user, items: ops.term_score(items, user, max_logit)
    )
  assert parts.network is not None
  network = _with_constants(parts.network)

  def user_state(history: Items | None, embedding: tf.Tensor) -> ops.PairUser:
    if network.history is not None:
      return _pair_user_of(network.history, embedding)
    return _pair_user(network, parts.user_state(history, embedding))

  def score(user: ops.PairUser, item_state: Any) -> tf.Tensor:
    query, hidden = network.items(item_state)
    if query is None:
      query = hidden[..., :0]
    return ops.pair_score(
      query,
      hidden,
      user,
      network.slopes,
      network.kernels,
      network.biases,
      network.out,
    )

  return ScoringParts(parts.item_state, user_state, score)


def _with_constants(network: PairNetwork) -> PairNetwork:
  """Reads the weights once, so that no step of a search reads a variable."""

  def constants(weights: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return [tf.identity(tf.convert_to_tensor(weight)) for weight in weights]

  with tf.init_scope():
    return network._replace(
      slopes=constants(network.slopes),
      kernels=constants(network.kernels),
      biases=constants(network.biases),
      out=constants([network.out])[0],
      history=None if network.history is None else _laid_out(network.history),
    )


def _laid_out(history: HistoryNetwork) -> HistoryNetwork:
  """Returns constants, both kernels with a row for each output."""
  return history._replace(
    first=tf.transpose(history.first),
    first_bias=tf.identity(history.first_bias),
    slope=tf.identity(history.slope),
    second=tf.transpose(history.second),
    second_bias=tf.identity(history.second_bias),
    values=tf.identity(history.values),
  )


def _pair_user_of(
  network: HistoryNetwork, embedding: tf.Tensor
) -> ops.PairUser:
  """Lays histories out in one op; `network` is that of `_laid_out`."""
  return ops.pair_user(
    embedding,
    network.first,
    network.first_bias,
    network.slope,
    network.second,
    network.second_bias,
    network.values,
    network.mask_padding,
  )


def _pair_user(network: PairNetwork, state: Any) -> ops.PairUser:
  """Lays a user's state out as the op wants it."""
  keys, key_bias, values, hidden = network.user(state)
  if keys is None or key_bias is None or values is None:
    assert hidden is not None
    return ops.PairUser(
      keys=tf.zeros([tf.shape(hidden)[0], 0, 0]),
      key_bias=hidden[:, :0],
      values=hidden[:, None][:, :0],
      hidden=hidden,
    )
  missing = -tf.shape(keys)[2] % _LANES
  return ops.PairUser(
    keys=tf.pad(keys, [[0, 0], [0, 0], [0, missing]]),
    key_bias=tf.pad(
      key_bias, [[0, 0], [0, missing]], constant_values=_MASKED_LOGIT
    ),
    values=values,
    hidden=key_bias[:, :0] if hidden is None else hidden,
  )
