"""The adversarial perturbation of the item embedding (FGSM).

Source: NANN (arXiv 2202.10226), section 4.3; FGSM: Goodfellow et al. 2015.
"""

import tensorflow as tf


def fast_gradient_sign(
  item_embedding: tf.Tensor, gradient: tf.Tensor, eps: float, relative: bool
) -> tf.Tensor:
  """Moves every coordinate by eps in the direction in which the loss grows.

  Args:
    item_embedding: e, [..., D] float32.
    gradient: dL/de, [..., D] float32.
    eps: Size of the step.
    relative: eps is in units of the mean |e| of the batch, so that the loss
      cannot be escaped by growing e.

  Returns:
    [..., D] float32; no gradient passes through it.
  """
  step = tf.constant(eps, item_embedding.dtype)
  if relative:
    step *= tf.reduce_mean(tf.abs(item_embedding))
  return tf.stop_gradient(item_embedding + step * tf.sign(gradient))
