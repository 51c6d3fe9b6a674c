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

import tensorflow as tf

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


def schedule_factor(
  schedule: str, step: tf.Tensor, num_steps: int
) -> tf.Tensor:
  """Returns what the learning rate is multiplied with at a step.

  Args:
    schedule: "constant", or "linear" from 1 to 0.01 at the last step.
    step: Scalar int64, from 0.
    num_steps: Steps of the whole training.
  """
  if schedule == "constant":
    return tf.constant(1.0)
  progress = tf.cast(step, tf.float32) / max(num_steps - 1, 1)
  return 1.0 - 0.99 * tf.minimum(progress, 1.0)


class LazyAdamW(tf.Module):
  """See the module text."""

  def __init__(
    self,
    variables: Sequence[tf.Variable],
    learning_rate: float,
    weight_decay: float,
  ) -> None:
    """Makes the moments of the variables, in the scope of their strategy."""
    super().__init__(name="lazy_adamw")
    self._learning_rate = learning_rate
    self._weight_decay = weight_decay
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
      Scalar float32: the norm of all gradients together.
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
    keep = 1.0 - self._weight_decay * factor

    def update_all(strategy: tf.distribute.Strategy, *values: object) -> None:
      rate, epsilon, keep, *summed = values
      for i, gradient in zip(used, summed, strict=True):
        strategy.extended.update(
          variables[i],
          _update,
          args=(self.first[i], self.second[i], gradient, rate, epsilon, keep),
          group=False,
        )

    context.merge_call(update_all, args=(rate, epsilon, keep, *summed))
    return _norm(summed)


def _zeros_like(variable: tf.Variable, name: str) -> tf.Variable:
  return tf.Variable(tf.zeros(variable.shape), trainable=False, name=name)


def _update(
  variable: tf.Variable,
  first: tf.Variable,
  second: tf.Variable,
  gradient: tf.Tensor | tf.IndexedSlices,
  rate: tf.Tensor,
  epsilon: tf.Tensor,
  keep: tf.Tensor,
) -> None:
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
