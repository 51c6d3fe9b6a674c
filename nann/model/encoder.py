"""Layers over a history's positions, none of which looks at what comes later.

So one pass over a sequence gives the state after each of its positions, and a
window of L items teaches as much as L windows.
"""

import math

import tensorflow as tf

from nann.model.layers import Dense, Initializer

_NUM_HEADS = 2
_MASKED_LOGIT = -1e9


class LayerNorm(tf.Module):
  """Normalizes each vector by itself: nothing depends on the batch.

  Source: Ba, Kiros & Hinton 2016.
  """

  _EPSILON = 1e-5

  def __init__(self, num_units: int, name: str | None = None) -> None:
    super().__init__(name=name)
    self.gamma = tf.Variable(tf.ones([num_units]), name="gamma")
    self.beta = tf.Variable(tf.zeros([num_units]), name="beta")

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
    scale = tf.math.rsqrt(variance + self._EPSILON)
    return (x - mean) * scale * self.gamma + self.beta


class Dropout:
  """Hides units at random: a pure function of a seed. Without one, nothing."""

  def __init__(self, rate: float, seed: tf.Tensor | None) -> None:
    """Takes the share of units to hide, and a scalar int64 or None."""
    self._rate, self._seed, self._calls = rate, seed, 0

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    if self._seed is None or self._rate == 0.0:
      return x
    self._calls += 1
    seed = tf.stack([self._seed, tf.constant(self._calls, tf.int64)])
    return tf.nn.experimental.stateless_dropout(x, self._rate, seed=seed)


class CausalBlock(tf.Module):
  """Self-attention and a feed-forward layer, each around a residual.

  Source: SASRec (Kang & McAuley 2018), normalized before each part.
  """

  def __init__(self, width: int, init: Initializer) -> None:
    super().__init__(name="causal_block")
    self.width = width
    self.attention_norm = LayerNorm(width, "attention_norm")
    self.query = Dense.create(width, width, init, "query", use_bias=False)
    self.key = Dense.create(width, width, init, "key", use_bias=False)
    self.value = Dense.create(width, width, init, "value", use_bias=False)
    self.mix = Dense.create(width, width, init, "mix", use_bias=False)
    self.inner_norm = LayerNorm(width, "inner_norm")
    self.inner = Dense.create(width, 2 * width, init, "inner")
    self.outer = Dense.create(2 * width, width, init, "outer", use_bias=False)
    self.norm = LayerNorm(width, "norm")

  def __call__(self, x: tf.Tensor, dropout: Dropout) -> tf.Tensor:
    """Returns [B, L, D]; position l depends on positions up to l alone."""
    shape = tf.shape(x)
    # Matrices: a layer over three axes is several small operations.
    flat = tf.reshape(x, [-1, self.width])  # [B L, D]
    mixed = self._attended(self.attention_norm(flat), shape[0], shape[1])
    flat += dropout(self.mix(mixed))
    inner = tf.nn.relu(self.inner(self.inner_norm(flat)))
    flat = self.norm(flat + dropout(self.outer(inner)))
    return tf.ensure_shape(tf.reshape(flat, shape), x.shape)

  def _attended(
    self, x: tf.Tensor, num_users: tf.Tensor, length: tf.Tensor
  ) -> tf.Tensor:
    """Returns [B L, D] of x [B L, D]."""
    layers = (self.query, self.key, self.value)
    kernel = tf.concat([layer.kernel for layer in layers], axis=1)
    width = self.width // _NUM_HEADS
    shape = [num_users, length, len(layers), _NUM_HEADS, width]
    parts = tf.reshape(tf.matmul(x, kernel), shape)
    query, key, value = tf.unstack(tf.transpose(parts, [2, 0, 3, 1, 4]))
    logits = tf.matmul(query, key, transpose_b=True) / math.sqrt(width)
    logits += (1.0 - causal_mask(length)) * _MASKED_LOGIT  # [B, H, L, L]
    mixed = tf.matmul(tf.nn.softmax(logits), value)
    return tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [-1, self.width])


class AgeWeights(tf.Module):
  """A weight for each age: how many items ago a position lies.

  Attributes:
    logits: [A] float32; the weight is exp(logit). Older counts as the oldest.
  """

  def __init__(self, max_age: int, half_age: float, level: float) -> None:
    """Starts at exp(level), half of it at `half_age`."""
    super().__init__(name="age_weights")
    ages = tf.range(max_age, dtype=tf.float32)
    self.logits = tf.Variable(
      level - tf.math.log1p(ages / half_age), name="logits"
    )

  def between(self, length: tf.Tensor) -> tf.Tensor:
    """Returns [L, L]: weight of position l (last axis) after position t."""
    return self.at(ages_between(length))

  def at(self, ages: tf.Tensor) -> tf.Tensor:
    """Returns the weights of int32 ages of any shape; 0 where one is < 0."""
    weights = tf.exp(self._logit(tf.maximum(ages, 0)))
    return tf.where(ages >= 0, weights, 0.0)

  def after(self, count: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Returns [B, L]: logits of the positions of histories of `count` items."""
    return self._logit(tf.maximum(ages_after(count, length), 0))

  def _logit(self, ages: tf.Tensor) -> tf.Tensor:
    return tf.gather(self.logits, tf.minimum(ages, self.logits.shape[0] - 1))


def ages_between(length: tf.Tensor) -> tf.Tensor:
  """Returns [L, L] int32: how long before position t (first axis) l lies."""
  places = tf.range(length)
  return places[:, None] - places[None]


def ages_after(count: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
  """Returns [B, L] int32: the same of the last of `count` [B] items."""
  return count[:, None] - 1 - tf.range(length)


def causal_mask(length: tf.Tensor) -> tf.Tensor:
  """Returns [L, L] float32: 1 where position l is not later than t."""
  return tf.linalg.band_part(tf.ones([length, length]), -1, 0)
