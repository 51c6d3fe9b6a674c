import numpy as np
import pytest
import tensorflow as tf

from nann.model import batch_statistics

EPSILON = 1e-3


def plain(
  x: tf.Tensor,
  gamma: tf.Tensor,
  beta: tf.Tensor,
  slope: tf.Tensor,
  weights: tf.Tensor | None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """The definition; TensorFlow finds its gradients."""
  w = tf.ones(x.shape[:-1]) if weights is None else weights
  w = (w / tf.reduce_sum(w))[..., None]
  rows = list(range(len(x.shape) - 1))
  mean = tf.reduce_sum(w * x, rows)
  variance = tf.reduce_sum(w * (x - mean) ** 2, rows)
  z = gamma * (x - mean) / tf.sqrt(variance + EPSILON) + beta
  return tf.maximum(z, 0.0) + slope * tf.minimum(z, 0.0), mean, variance


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("shape", [(9, 4), (3, 5, 4), (1, 4)])
def test_values_and_gradients_are_those_of_the_definition(
  shape: tuple[int, ...], is_weighted: bool, seed: int
) -> None:
  rng = np.random.default_rng(seed)

  def drawn(*shape: int) -> tf.Tensor:
    return tf.constant(rng.normal(size=shape), tf.float32)

  x = 2.0 * drawn(*shape) + 3.0
  given = [x, drawn(4), drawn(4), drawn(4)]
  weights = tf.constant(rng.integers(1, 6, shape[:-1]), tf.float32)
  reach = drawn(*shape)
  found = []
  for function in (
    plain,
    lambda *a: batch_statistics.normalize(*a, epsilon=EPSILON),
  ):
    with tf.GradientTape() as tape:
      tape.watch(given)
      results = function(*given, weights if is_weighted else None)
      loss = tf.reduce_sum(results[0] * reach)
    found.append([*results, *tape.gradient(loss, given)])
  for wanted, got in zip(*found, strict=True):
    np.testing.assert_allclose(got, wanted, rtol=2e-3, atol=2e-4)


def test_no_gradient_passes_through_the_statistics() -> None:
  x = tf.constant([[1.0], [3.0]])
  with tf.GradientTape() as tape:
    tape.watch(x)
    ones = tf.ones([1])
    _, mean, variance = batch_statistics.normalize(
      x, ones, ones, ones, None, EPSILON
    )
  assert mean.numpy() == [2.0]
  assert variance.numpy() == [1.0]
  assert tape.gradient([mean, variance], x) is None
