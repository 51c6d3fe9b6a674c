"""The few layers that the scorers are made of.

Plain `tf.Module`s instead of Keras layers, because three things are needed that
Keras does not offer: batch statistics without an update of the moving averages
(for the adversarial pass), statistics weighted by how often a distinct item
occurs in the batch, and batch normalization that folds away for serving.
"""

import enum
from typing import Any

import tensorflow as tf
from typing_extensions import Self

from nann.model import batch_statistics


class Phase(enum.Enum):
  """What a forward pass is for; batch normalization depends on it.

  TRAIN: batch statistics, moving averages updated.
  PERTURBED: batch statistics, moving averages left alone.
  INFERENCE: moving averages.
  """

  TRAIN = "train"
  PERTURBED = "perturbed"
  INFERENCE = "inference"


class Initializer:
  """Gives seeded initial values: the n-th call depends on seed and n alone."""

  def __init__(self, seed: int) -> None:
    self._seed = seed
    self._calls = 0

  def truncated_normal(self, shape: list[int], stddev: float) -> tf.Tensor:
    """Returns `shape` float32, normal, cut at two standard deviations."""
    return _truncated_normal(shape, self._next(), stddev)

  def glorot_uniform(self, shape: list[int]) -> tf.Tensor:
    """Returns [in, out] float32. Source: Glorot & Bengio 2010, eq. 16."""
    limit = (6.0 / (shape[0] + shape[1])) ** 0.5
    return tf.random.stateless_uniform(
      shape, seed=self._next(), minval=-limit, maxval=limit
    )

  def _next(self) -> list[int]:
    self._calls += 1
    return [self._seed, self._calls]


# One graph: its operations share a buffer, which a large table's would not
# when run one by one.
@tf.function(
  input_signature=[
    tf.TensorSpec([None], tf.int32),
    tf.TensorSpec([2], tf.int64),
    tf.TensorSpec([], tf.float32),
  ]
)
def _truncated_normal(
  shape: tf.Tensor, seed: tf.Tensor, stddev: tf.Tensor
) -> tf.Tensor:
  return tf.random.stateless_truncated_normal(shape, seed, stddev=stddev)


class Dense(tf.Module):
  """y = x W + b over the last axis of any shape."""

  def __init__(
    self,
    kernel: tf.Variable | tf.Tensor,
    bias: tf.Variable | tf.Tensor | None,
    name: str | None = None,
  ) -> None:
    """Takes W [in, out] and b [out]: variables, or tensors once folded."""
    super().__init__(name=name)
    self.kernel, self.bias = kernel, bias

  @classmethod
  def create(
    cls,
    num_inputs: int,
    num_outputs: int,
    init: Initializer,
    name: str,
    use_bias: bool = True,
  ) -> Self:
    initial = init.glorot_uniform([num_inputs, num_outputs])
    kernel = tf.Variable(initial, name="kernel")
    bias = tf.Variable(tf.zeros([num_outputs]), name="bias")
    return cls(kernel, bias if use_bias else None, name)

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    y = linear(x, self.kernel)
    return y if self.bias is None else y + self.bias


def linear(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
  """Returns [..., in] x [in, out] -> [..., out] as one matrix product."""
  if x.shape.rank == 2:
    return tf.matmul(x, kernel)
  flat = tf.matmul(tf.reshape(x, [-1, kernel.shape[0]]), kernel)
  shape = tf.concat([tf.shape(x)[:-1], [kernel.shape[1]]], axis=0)
  y = tf.reshape(flat, shape)
  y.set_shape(x.shape[:-1].concatenate(kernel.shape[1]))
  return y


class PReLU(tf.Module):
  """max(x, 0) + slope * min(x, 0), a slope for each unit."""

  def __init__(
    self, slope: tf.Variable | tf.Tensor, name: str | None = None
  ) -> None:
    super().__init__(name=name)
    self.slope = slope

  @classmethod
  def create(cls, num_units: int, name: str) -> Self:
    return cls(tf.Variable(tf.fill([num_units], 0.25), name="slope"), name)

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    """Returns [..., D] of x [..., D] float32."""
    return _prelu(x, tf.convert_to_tensor(self.slope))


@tf.custom_gradient
def _prelu(x: tf.Tensor, slope: tf.Tensor) -> tuple[tf.Tensor, Any]:
  """See `PReLU`; keeps x for the gradient, and nothing else.

  Left to itself, TensorFlow keeps both terms too: as much again, twice.
  """

  def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    dx = tf.where(x > 0.0, dy, dy * slope)
    of_slope = tf.reshape(dy * tf.minimum(x, 0.0), [-1, slope.shape[0]])
    return dx, tf.reduce_sum(of_slope, axis=0)

  return tf.nn.relu(x) + slope * tf.minimum(x, 0.0), gradient


class BatchNorm(tf.Module):
  """Batch normalization over all axes but the last, synchronized.

  Epsilon as in the original's network. Statistics are those of the whole batch
  over all replicas.
  """

  EPSILON = 1e-3
  MOMENTUM = 0.99

  def __init__(self, num_units: int, name: str | None = None) -> None:
    super().__init__(name=name)

    def moving(initial: tf.Tensor, name: str) -> tf.Variable:
      return tf.Variable(
        initial,
        trainable=False,
        name=name,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.MEAN,
      )

    self.gamma = tf.Variable(tf.ones([num_units]), name="gamma")
    self.beta = tf.Variable(tf.zeros([num_units]), name="beta")
    self.mean = moving(tf.zeros([num_units]), "moving_mean")
    self.variance = moving(tf.ones([num_units]), "moving_variance")

  def __call__(
    self,
    x: tf.Tensor,
    phase: Phase,
    weights: tf.Tensor | None = None,
    prelu: PReLU | None = None,
  ) -> tf.Tensor:
    """Normalizes x.

    Args:
      x: [..., D] float32.
      phase: What the pass is for.
      weights: [...] float32, how often each row counts in the statistics; None:
        once.
      prelu: Follows, if given.
    """
    if phase == Phase.INFERENCE:
      scale, shift = self.scale_and_shift()
      x = x * scale + shift
      return x if prelu is None else prelu(x)
    slope = tf.ones_like(self.gamma) if prelu is None else prelu.slope
    y, mean, variance = batch_statistics.normalize(
      x,
      tf.convert_to_tensor(self.gamma),
      tf.convert_to_tensor(self.beta),
      tf.convert_to_tensor(slope),
      weights,
      self.EPSILON,
    )
    if phase == Phase.TRAIN:
      for average, value in ((self.mean, mean), (self.variance, variance)):
        kept = self.MOMENTUM
        average.assign(kept * average + (1 - kept) * value)
    return y

  def scale_and_shift(self) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns [D], [D] with inference(x) = x * scale + shift."""
    scale = self.gamma * tf.math.rsqrt(self.variance + self.EPSILON)
    return scale, self.beta - self.mean * scale


class Block(tf.Module):
  """Dense, batch normalization, PReLU."""

  def __init__(
    self,
    dense: Dense,
    norm: BatchNorm | None,
    prelu: PReLU,
    name: str | None = None,
  ) -> None:
    super().__init__(name=name)
    self.dense, self.norm, self.prelu = dense, norm, prelu

  @classmethod
  def create(
    cls, num_inputs: int, num_outputs: int, init: Initializer, name: str
  ) -> Self:
    return cls(
      Dense.create(num_inputs, num_outputs, init, "fc"),
      BatchNorm(num_outputs, "bn"),
      PReLU.create(num_outputs, "prelu"),
      name,
    )

  def __call__(
    self, x: tf.Tensor, phase: Phase, weights: tf.Tensor | None = None
  ) -> tf.Tensor:
    return self.activate(self.dense(x), phase, weights)

  def activate(
    self, x: tf.Tensor, phase: Phase, weights: tf.Tensor | None = None
  ) -> tf.Tensor:
    """Applies what comes after the dense layer."""
    if self.norm is None:
      return self.prelu(x)
    return self.norm(x, phase, weights, self.prelu)

  def folded(self) -> "Block":
    """Returns the block with the same inference output and no norm."""
    assert self.norm is not None
    scale, shift = self.norm.scale_and_shift()
    assert self.dense.bias is not None
    dense = Dense(self.dense.kernel * scale, self.dense.bias * scale + shift)
    return Block(dense, None, PReLU(tf.identity(self.prelu.slope)))


class PairMlp(tf.Module):
  """An MLP on [user vector; item vector] that gives one score a pair.

  Its first layer is a sum of a user part and an item part, so that each is
  computed once for its user or item.
  """

  def __init__(
    self,
    blocks: list[Block],
    out: Dense,
    user_width: int,
    name: str = "pair_mlp",
  ) -> None:
    super().__init__(name=name)
    self.blocks, self.out, self._user_width = blocks, out, user_width

  @classmethod
  def create(
    cls,
    user_width: int,
    item_width: int,
    widths: tuple[int, ...],
    init: Initializer,
  ) -> Self:
    inputs = (user_width + item_width, *widths[:-1])
    blocks = [
      Block.create(num_inputs, num_outputs, init, f"dnn_{i}")
      for i, (num_inputs, num_outputs) in enumerate(
        zip(inputs, widths, strict=True), start=1
      )
    ]
    # No bias: it would move all scores alike.
    out = Dense.create(widths[-1], 1, init, "out", use_bias=False)
    return cls(blocks, out, user_width)

  def user_part(self, x: tf.Tensor) -> tf.Tensor:
    """Returns [..., user_width] -> [..., W]: the user's share of layer 1."""
    return linear(x, self.blocks[0].dense.kernel[: self._user_width])

  def item_part(self, x: tf.Tensor) -> tf.Tensor:
    """Returns [..., item_width] -> [..., W]: the item's share, and the bias."""
    first = self.blocks[0].dense
    return linear(x, first.kernel[self._user_width :]) + first.bias

  def __call__(self, hidden: tf.Tensor, phase: Phase) -> tf.Tensor:
    """Returns the scores [B, N] of the sums of both parts [B, N, W]."""
    x = self.blocks[0].activate(hidden, phase)
    for block in self.blocks[1:]:
      x = block(x, phase)
    return self.out(x)[..., 0]

  def folded(self) -> "PairMlp":
    """Returns the same function for inference without batch normalization.

    Its weights are tensors, computed now, not variables.
    """
    blocks = [block.folded() for block in self.blocks]
    out = Dense(tf.identity(self.out.kernel), None)
    return PairMlp(blocks, out, self._user_width)
