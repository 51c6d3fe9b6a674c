import numpy as np
import pytest
import tensorflow as tf

from nann.model import adversarial, losses


def softmax64(x: np.ndarray) -> np.ndarray:
  x = x.astype(np.float64)
  x = np.exp(x - x.max(-1, keepdims=True))
  return x / x.sum(-1, keepdims=True)


def logits(seed: int, shape: tuple = (7, 5)) -> np.ndarray:
  return np.random.default_rng(seed).normal(0, 3, shape).astype(np.float32)


@pytest.mark.parametrize("size", [1e-6, 1e-4, 1e-2, 0.3, 5.0, 40.0])
def test_kl_is_exact_and_never_negative(size: float) -> None:
  a = logits(0, (50, 20))
  b = (a + size * logits(1, (50, 20))).astype(np.float32)
  p, q = softmax64(a), softmax64(b)
  d = np.log(q) - np.log(p)
  expected = (p * (np.expm1(d) - d)).sum(-1)
  got = losses.kl_divergence(a, b).numpy()
  assert (got >= 0).all()
  if size >= 1e-4:
    np.testing.assert_allclose(got, expected, rtol=2e-2, atol=1e-13)


def test_kl_of_equal_logits_is_zero() -> None:
  assert (losses.kl_divergence(logits(0), logits(0)).numpy() == 0).all()


def test_kl_gradient_is_q_minus_p() -> None:
  a, b = tf.constant(logits(0)), tf.constant(logits(1))
  with tf.GradientTape() as tape:
    tape.watch([a, b])
    value = tf.reduce_sum(losses.kl_divergence(a, b))
  of_a, of_b = tape.gradient(value, [a, b])
  assert of_a is None
  expected = softmax64(b.numpy()) - softmax64(a.numpy())
  np.testing.assert_allclose(of_b, expected, atol=1e-5)


def test_softmax_loss_is_the_share_of_the_first() -> None:
  got = losses.sampled_softmax(logits(0), tf.ones([7, 5]))
  expected = -np.log(softmax64(logits(0))[:, 0])
  np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_sigmoid_loss_is_the_mean_over_pairs() -> None:
  x = logits(0).astype(np.float64)
  expected = np.log1p(np.exp(x))
  expected[:, 0] = np.log1p(np.exp(-x[:, 0]))
  got = losses.sigmoid_cross_entropy(tf.constant(logits(0)), tf.ones([7, 5]))
  np.testing.assert_allclose(got, expected.mean(1), rtol=1e-5)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_accidental_hit_has_no_part_in_the_loss(name: str) -> None:
  loss = losses.LOSSES[name]
  scores = logits(0, (3, 4))
  valid = np.ones((3, 4), np.float32)
  valid[:, 2] = 0.0
  zero = tf.zeros([3, 4])
  with_hit = losses.correct_logits(tf.constant(scores), zero, valid)
  without = np.delete(scores, 2, axis=1)
  np.testing.assert_allclose(
    loss(with_hit, tf.constant(valid)),
    loss(tf.constant(without), tf.ones([3, 3])),
    rtol=1e-5,
  )


def test_correction_takes_the_log_of_the_expected_count_off() -> None:
  got = losses.correct_logits(
    tf.constant([[1.0, 2.0]]), tf.constant([[0.5, -1.0]]), tf.ones([1, 2])
  )
  assert got.numpy().tolist() == [[0.5, 3.0]]


@pytest.mark.parametrize("relative", [False, True])
def test_fgsm_moves_every_coordinate_against_us(relative: bool) -> None:
  e, gradient = logits(0, (2, 3, 4)), logits(1, (2, 3, 4))
  got = adversarial.fast_gradient_sign(e, gradient, 0.01, relative)
  step = 0.01 * (np.abs(e).mean() if relative else 1.0)
  np.testing.assert_allclose(got - e, step * np.sign(gradient), atol=1e-6)


def test_no_gradient_passes_through_the_perturbation() -> None:
  e = tf.constant(logits(0))
  with tf.GradientTape() as tape:
    tape.watch(e)
    moved = adversarial.fast_gradient_sign(e, tf.square(e), 0.1, True)
    value = tf.reduce_sum(tf.square(moved))
  assert tape.gradient(value, e) is None
