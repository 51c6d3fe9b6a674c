"""AdamW that touches only the rows of a table that a batch uses.

Keras' Adam turns the gradient of a lookup into a dense one and walks the whole
table at every step; with millions of items that is most of the step. Here a row
that the batch does not use keeps its value and its moments: no update, no decay
(as in TensorFlow's former LazyAdam). Where every row is used at every step the
two agree.

Weight decay is decoupled and independent of the learning rate: at each update a
weight loses the share `weight_decay` of itself, times the schedule's factor, as
in the original's AdamW (arXiv 1711.05101, algorithm 2).
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nann.model.tables import beside

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


def schedule_factor(
  schedule: str,
  step: tf.Tensor,
  num_steps: tf.Tensor | int,
  warmup_steps: int = 0,
) -> tf.Tensor:
  """Returns what the learning rate is multiplied with at a step.

  Args:
    schedule: "constant", or "linear" from 1 to 0.01 at the last step.
    step: Scalar int64, from 0.
    num_steps: Steps of the whole training.
    warmup_steps: Over so many first steps the factor grows from nearly 0.
  """
  done = tf.cast(step, tf.float32)
  factor = tf.constant(1.0)
  if warmup_steps:
    factor = tf.minimum((done + 1.0) / warmup_steps, 1.0)
  if schedule == "constant":
    return factor
  progress = done / tf.maximum(tf.cast(num_steps, tf.float32) - 1.0, 1.0)
  return factor * (1.0 - 0.99 * tf.minimum(progress, 1.0))


class LazyAdamW(tf.Module):
  """See the module text."""

  def __init__(
    self,
    variables: Sequence[tf.Variable],
    learning_rate: float,
    weight_decay: float,
    rate_factors: Sequence[tuple[tf.Variable, float]] = (),
    clip_norm: float = 0.0,
  ) -> None:
    """Makes the moments of the variables, in the scope of their strategy.

    Args:
      variables: What is trained.
      learning_rate: Size of a step.
      weight_decay: Share of a weight lost at an update.
      rate_factors: Variables with what both are multiplied with for them.
      clip_norm: All gradients together are scaled down to this norm where
        theirs is larger; 0: never.
    """
    super().__init__(name="lazy_adamw")
    self._learning_rate = learning_rate
    self._weight_decay = weight_decay
    self._clip_norm = clip_norm
    special = {id(variable): factor for variable, factor in rate_factors}
    self._factors = [special.get(id(variable), 1.0) for variable in variables]
    self.first = [_zeros_like(v, "first_moment") for v in variables]
    self.second = [_zeros_like(v, "second_moment") for v in variables]

  def apply(
    self,
    gradients: Sequence[tf.Tensor | tf.IndexedSlices | None],
    variables: Sequence[tf.Variable],
    step: tf.Tensor,
    factor: tf.Tensor,
  ) -> tf.Tensor:
    """Updates the variables; to be called in a replica.

    Args:
      gradients: Gradient of each variable, summed over this replica's share of
        the batch; they are summed over the replicas here. IndexedSlices for
        lookups; None: the variable is left alone.
      variables: The variables of `__init__`, in the same order.
      step: Scalar int64 from 0, for the bias correction of the moments.
      factor: Scalar float32, the schedule's factor.

    Returns:
      Scalar float32: the norm of all gradients together, before clipping.
    """
    used = [i for i, gradient in enumerate(gradients) if gradient is not None]
    context = tf.distribute.get_replica_context()
    summed = [gradients[i] for i in used]
    if context.num_replicas_in_sync > 1:
      summed = context.all_reduce(tf.distribute.ReduceOp.SUM, summed)
    count = tf.cast(step, tf.float32) + 1.0
    correction = tf.sqrt(1.0 - BETA_2**count) / (1.0 - BETA_1**count)
    rate = self._learning_rate * factor * correction
    # Source: Kingma & Ba 2015, section 2: epsilon of the efficient form.
    epsilon = EPSILON * tf.sqrt(1.0 - BETA_2**count)
    decay = self._weight_decay * factor
    norm = _norm(summed)
    if self._clip_norm:
      share = tf.minimum(self._clip_norm / tf.maximum(norm, 1e-12), 1.0)
      summed = [_scaled(gradient, share) for gradient in summed]

    def update_all(strategy: tf.distribute.Strategy, *values: Any) -> None:
      rate, epsilon, decay, *summed = values
      for i, gradient in zip(used, summed, strict=True):
        moments, scales = (
          (self.first[i], self.second[i]),
          (rate, epsilon, decay),
        )
        strategy.extended.update(
          variables[i],
          _update,
          args=(*moments, gradient, *scales, self._factors[i]),
          group=False,
        )

    context.merge_call(update_all, args=(rate, epsilon, decay, *summed))
    return norm


def _scaled(
  gradient: tf.Tensor | tf.IndexedSlices, factor: tf.Tensor
) -> tf.Tensor | tf.IndexedSlices:
  if isinstance(gradient, tf.IndexedSlices):
    return tf.IndexedSlices(
      gradient.values * factor, gradient.indices, gradient.dense_shape
    )
  return gradient * factor


def _zeros_like(variable: tf.Variable, name: str) -> tf.Variable:
  return tf.Variable(tf.zeros(variable.shape), trainable=False, name=name)


def _update(
  variable: tf.Variable,
  first: tf.Variable,
  second: tf.Variable,
  gradient: tf.Tensor | tf.IndexedSlices,
  rate: tf.Tensor,
  epsilon: tf.Tensor,
  decay: tf.Tensor,
  factor: float,
) -> None:
  rate, keep = rate * factor, 1.0 - decay * factor
  if isinstance(gradient, tf.IndexedSlices):
    _update_rows(variable, first, second, gradient, rate, epsilon, keep)
    return
  first.assign(BETA_1 * first + (1 - BETA_1) * gradient)
  second.assign(BETA_2 * second + (1 - BETA_2) * tf.square(gradient))
  change = rate * first / (tf.sqrt(second) + epsilon)
  variable.assign(variable * keep - change)


def _update_rows(
  variable: tf.Variable,
  first: tf.Variable,
  second: tf.Variable,
  gradient: tf.IndexedSlices,
  rate: tf.Tensor,
  epsilon: tf.Tensor,
  keep: tf.Tensor,
) -> None:
  first, second = beside(variable, first), beside(variable, second)
  rows, place = tf.unique(gradient.indices)
  summed = tf.math.unsorted_segment_sum(
    gradient.values, place, tf.shape(rows)[0]
  )
  mean = BETA_1 * tf.gather(first, rows) + (1 - BETA_1) * summed
  square = BETA_2 * tf.gather(second, rows)
  square += (1 - BETA_2) * tf.square(summed)
  change = rate * mean / (tf.sqrt(square) + epsilon)
  value = tf.gather(variable, rows) * keep - change
  first.scatter_update(tf.IndexedSlices(mean, rows))
  second.scatter_update(tf.IndexedSlices(square, rows))
  variable.scatter_update(tf.IndexedSlices(value, rows))


def _norm(gradients: Sequence[tf.Tensor | tf.IndexedSlices]) -> tf.Tensor:
  values = [
    g.values if isinstance(g, tf.IndexedSlices) else g for g in gradients
  ]
  return tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(v)) for v in values]))
