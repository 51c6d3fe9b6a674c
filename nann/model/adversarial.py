"""The adversarial perturbation of the item embedding, and what else there is.

fgsm: each coordinate moves by eps in the direction in which the loss grows.
random_sign: by as much in a random direction; costs no gradient.
pgd: several smaller steps of that kind, within eps; a pass for each.
The KL divergence to the scores before the move is then a loss. `penalty` is
fgsm with the loss at the moved embedding instead of the divergence: to first
order the loss plus eps times the 1-norm of its gradient.

Sources: NANN (arXiv 2202.10226), section 4.3; FGSM: Goodfellow et al. 2015;
PGD: Madry et al. 2018.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

METHODS = ("fgsm", "random_sign", "pgd", "penalty")
_PGD_STEPS, _PGD_SHARE = 3, 0.5

# Embeddings -> gradients of the loss there.
Gradients = Callable[[list[tf.Tensor]], Sequence[tf.Tensor]]


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
  step = _size(item_embedding, eps, relative)
  return tf.stop_gradient(item_embedding + step * tf.sign(gradient))


def perturbed(
  method: str,
  embeddings: list[tf.Tensor],
  gradients: Sequence[tf.Tensor],
  gradients_at: Gradients,
  eps: float,
  relative: bool,
  seed: tf.Tensor,
) -> list[tf.Tensor]:
  """Returns where a method moves embeddings; no gradient passes through.

  Args:
    method: One of `METHODS`.
    embeddings: Each [..., D] float32.
    gradients: Of the loss, at the embeddings, and
    gradients_at: what gives them elsewhere.
    eps, relative: See `fast_gradient_sign`.
    seed: Scalar int64.
  """
  if method == "random_sign":
    return [
      fast_gradient_sign(e, _random(e, seed, i), eps, relative)
      for i, e in enumerate(embeddings)
    ]
  if method != "pgd":
    return [
      fast_gradient_sign(e, g, eps, relative)
      for e, g in zip(embeddings, gradients, strict=True)
    ]
  sizes = [_size(e, eps, relative) for e in embeddings]
  moved = list(embeddings)
  for number in range(_PGD_STEPS):
    if number:
      gradients = gradients_at(moved)
    moved = [
      tf.stop_gradient(
        tf.clip_by_value(x + _PGD_SHARE * size * tf.sign(g), e - size, e + size)
      )
      for x, g, e, size in zip(moved, gradients, embeddings, sizes, strict=True)
    ]
  return moved


def _size(e: tf.Tensor, eps: float, relative: bool) -> tf.Tensor:
  size = tf.constant(eps, e.dtype)
  return size * tf.reduce_mean(tf.abs(e)) if relative else size


def _random(e: tf.Tensor, seed: tf.Tensor, number: int) -> tf.Tensor:
  pair = tf.stack([tf.cast(seed, tf.int64), tf.constant(number, tf.int64)])
  return tf.random.stateless_uniform(tf.shape(e), pair, -1.0, 1.0)
