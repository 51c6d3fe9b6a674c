"""The parts of a scorer as a search runs them: fused where the op can, and with
the items' states kept in some dtype."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from nann.model.scorer import Items, Scorer, ScoringParts, TermNetwork
from nann.retrieval import fused


def parts(scorer: Scorer, dtype: tf.DType) -> ScoringParts:
  """Returns the scorer's parts; the items' states are of type `dtype`."""
  whole = scorer.parts()
  if not fused.can_fuse(whole):
    return stock_parts(scorer, dtype)
  # The fused op reads every dtype as it is.
  return _with_states_of(fused.fuse(whole), dtype)


def stock_parts(scorer: Scorer, dtype: tf.DType) -> ScoringParts:
  """Returns the same without the fused op."""
  whole = _with_states_of(scorer.parts(), dtype)

  def score(user_state: Any, state: Any) -> tf.Tensor:
    state = tf.nest.map_structure(_cast_to(tf.float32), state)
    return whole.score(user_state, state)

  return whole._replace(score=score)


def gpu_parts(scorer: Scorer, dtype: tf.DType) -> ScoringParts:
  """Returns those of `parts`, with int64 in the states in place of int32.

  TensorFlow keeps int32 in the memory of the host. Not fused where the op for
  it has no kernel for GPUs.
  """
  only_on_cpu = isinstance(scorer.parts().network, TermNetwork)
  whole = (stock_parts if only_on_cpu else parts)(scorer, dtype)

  def widened(state: Any) -> Any:
    return tf.nest.map_structure(_widen, state)

  def item_state(items: Items | None, embedding: tf.Tensor) -> Any:
    return widened(whole.item_state(items, embedding))

  def user_state(history: Items | None, embedding: tf.Tensor) -> Any:
    return widened(whole.user_state(history, embedding))

  return whole._replace(item_state=item_state, user_state=user_state)


def _widen(tensor: tf.Tensor) -> tf.Tensor:
  return tf.cast(tensor, tf.int64) if tensor.dtype == tf.int32 else tensor


def _with_states_of(whole: ScoringParts, dtype: tf.DType) -> ScoringParts:
  """Returns parts that keep the items' states in some dtype."""

  def item_state(items: Items | None, embedding: tf.Tensor) -> Any:
    state = whole.item_state(items, embedding)
    return tf.nest.map_structure(_cast_to(dtype), state)

  return whole._replace(item_state=item_state)


def _cast_to(dtype: tf.DType) -> Callable[[tf.Tensor], tf.Tensor]:
  """Returns what casts floating tensors and leaves ids as they are."""

  def cast(tensor: tf.Tensor) -> tf.Tensor:
    return tf.cast(tensor, dtype) if tensor.dtype.is_floating else tensor

  return cast
