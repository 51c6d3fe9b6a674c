"""The losses: what to learn from, and how far a perturbation may move it.

All take logits [B, 1 + N] whose first column is the positive, corrected for the
sampling, with `valid` [B, 1 + N] 0 where a negative is the positive itself (an
accidental hit). All return one value a row, [B].
"""

import tensorflow as tf

# Added to the logit of an accidental hit: no weight in a softmax.
_EXCLUDED = -1e9


def correct_logits(
  scores: tf.Tensor, log_expected: tf.Tensor, valid: tf.Tensor
) -> tf.Tensor:
  """Returns scores - log Q, very low where a negative is not valid.

  Args:
    scores: [B, 1 + N] float32.
    log_expected: [B, 1 + N] float32, log of the expected number of draws.
    valid: [B, 1 + N] float32.
  """
  return scores - log_expected + (1.0 - valid) * _EXCLUDED


def sampled_softmax(logits: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
  """Returns [B]: -log of the positive's share among positive and negatives."""
  del valid  # An excluded logit has no share.
  return -tf.nn.log_softmax(logits)[:, 0]


def sigmoid_cross_entropy(logits: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
  """Returns [B]: mean over the pairs of the logistic loss (the original's)."""
  labels = tf.one_hot(tf.zeros(tf.shape(logits)[0], tf.int32), logits.shape[1])
  pairs = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
  return tf.reduce_sum(pairs * valid, 1) / tf.reduce_sum(valid, 1)


LOSSES = {"softmax": sampled_softmax, "sigmoid": sigmoid_cross_entropy}


def kl_divergence(logits: tf.Tensor, logits_perturbed: tf.Tensor) -> tf.Tensor:
  """Returns KL(softmax(logits) || softmax(logits_perturbed)), [B], never < 0.

  As a difference of two sums, which is how it is usually written, it drowns in
  rounding when the perturbation is small. With d = log q - log p and
  sum p (e^d - 1) = 0 it is sum p (e^d - 1 - d), every term of which is >= 0.
  """
  log_p = tf.nn.log_softmax(tf.stop_gradient(logits))
  difference = tf.nn.log_softmax(logits_perturbed) - log_p
  return tf.reduce_sum(tf.exp(log_p) * _expm1_minus(difference), axis=1)


@tf.custom_gradient
def _expm1_minus(x: tf.Tensor) -> tuple[tf.Tensor, object]:
  """Returns e^x - 1 - x without cancellation near 0."""
  # Outside the interval the difference is exact enough; inside, the series.
  small = tf.clip_by_value(x, -0.1, 0.1)
  series = tf.square(small) * (
    1 / 2 + small * (1 / 6 + small * (1 / 24 + small / 120))
  )
  value = tf.where(tf.abs(x) < 0.1, series, tf.math.expm1(x) - x)
  return value, lambda upstream: upstream * tf.math.expm1(x)
