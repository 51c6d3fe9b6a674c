"""Batch statistics over all replicas, and normalization by them.

Source: Ioffe & Szegedy 2015, section 3.
"""

from typing import Any

import tensorflow as tf


def normalize(
  x: tf.Tensor,
  gamma: tf.Tensor,
  beta: tf.Tensor,
  slope: tf.Tensor,
  weights: tf.Tensor | None,
  epsilon: float,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """Normalizes by the batch's statistics; a PReLU follows.

  Keeps x for the gradient, and nothing else of its size: left to itself,
  TensorFlow keeps x three more times.

  Args:
    x: [..., D] float32.
    gamma: [D] scale, and
    beta: [D] shift, of what is normalized.
    slope: [D] of the PReLU below zero; 1: none follows.
    weights: [...] float32, how often each row counts in the statistics; None:
      once. No gradient passes through them.
    epsilon: Added to the variance.

  Returns:
    y like x, and mean [D] and variance [D], through which no gradient passes.
  """

  @tf.custom_gradient
  def run(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, slope: tf.Tensor
  ) -> tuple[tuple[tf.Tensor, ...], Any]:
    mean, variance, count = _moments(x, weights)
    inverse = tf.math.rsqrt(variance + epsilon)
    scale = gamma * inverse
    shift = beta - mean * scale

    def gradient(dy: tf.Tensor, *_: Any) -> tuple[tf.Tensor, ...]:
      z = x * scale + shift
      of_slope = _total(dy * tf.minimum(z, 0.0))
      dz = tf.where(z > 0.0, dy, dy * slope)
      of_beta = _total(dz)
      of_gamma = _total(dz * (x - mean)) * inverse
      beta_sum, gamma_sum = sum_over_replicas([of_beta, of_gamma])
      # What a row does to the mean and to the variance.
      by_variance = scale * inverse * gamma_sum / count
      by_mean = scale * beta_sum / count - mean * by_variance
      through = x * by_variance + by_mean
      if weights is not None:
        through *= weights[..., None]
      return dz * scale - through, of_gamma, of_beta, of_slope

    z = x * scale + shift
    y = tf.where(z > 0.0, z, z * slope)
    return (y, mean, variance), gradient

  y, mean, variance = run(x, gamma, beta, slope)
  return y, tf.stop_gradient(mean), tf.stop_gradient(variance)


def sum_over_replicas(values: list[tf.Tensor]) -> list[tf.Tensor]:
  """Returns the sums of what all replicas have."""
  context = tf.distribute.get_replica_context()
  if context is None or context.num_replicas_in_sync == 1:
    return values
  summed: list[tf.Tensor] = context.all_reduce(
    tf.distribute.ReduceOp.SUM, values
  )
  return summed


def _moments(
  x: tf.Tensor, weights: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """Returns mean [D], variance [D] and the number of rows of all replicas."""
  rows = tf.reshape(x, [-1, x.shape[-1]])
  if weights is None:
    count = tf.cast(tf.shape(rows)[0], rows.dtype)
  else:
    count = tf.reduce_sum(weights)
  count, mean_sum = sum_over_replicas([count, _total(rows, weights)])
  mean = mean_sum / count
  (square_sum,) = sum_over_replicas([_total(tf.square(rows - mean), weights)])
  return mean, square_sum / count, count


def _total(x: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
  """Returns [D], the sum of all rows of x [..., D], each times its weight."""
  rows = tf.reshape(x, [-1, x.shape[-1]])
  if weights is None:
    return tf.reduce_sum(rows, axis=0)
  return tf.matmul(tf.reshape(weights, [-1, 1]), rows, transpose_a=True)[0]
