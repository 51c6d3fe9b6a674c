"""Models that tell nothing of themselves, for the tests of the split."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

NUM_IDS = 30
LENGTH = 5
WIDTH = 8

layers = keras.layers


class Case(NamedTuple):
  """A model and what it takes.

  Attributes:
    model: The black box.
    user: Its user inputs.
    item: Its item inputs.
  """

  model: Any
  user: list[str]
  item: list[str]


def features(num_rows: int, seed: int) -> dict[str, np.ndarray]:
  """Makes rows of all features that the models below take.

  Histories are padded with 0 at the end; the first one has a single item.
  """
  rng = np.random.default_rng(seed)
  lengths = rng.integers(1, LENGTH + 1, num_rows)
  lengths[0] = 1
  history = rng.integers(1, NUM_IDS, (num_rows, LENGTH))
  history[np.arange(LENGTH) >= lengths[:, None]] = 0
  return {
    "history": history.astype(np.int32),
    "age": rng.normal(size=(num_rows, 2)).astype(np.float32),
    "item": rng.integers(1, NUM_IDS, num_rows).astype(np.int32),
    "price": rng.normal(size=(num_rows, 3)).astype(np.float32),
  }


def _inputs() -> tuple[Any, ...]:
  return (
    keras.Input([LENGTH], dtype="int32", name="history"),
    keras.Input([2], name="age"),
    keras.Input([], dtype="int32", name="item"),
    keras.Input([3], name="price"),
  )


def _case(inputs: tuple[Any, ...], score: Any) -> Case:
  model = keras.Model(list(inputs), score)
  names = [tensor.name for tensor in inputs]
  return Case(
    model,
    [name for name in names if name in ("history", "age")],
    [name for name in names if name in ("item", "price")],
  )


def _embedding(mask_zero: bool = False) -> Any:
  return layers.Embedding(NUM_IDS, WIDTH, mask_zero=mask_zero)


def _warmed(normalization: Any, width: int) -> Any:
  """Gives batch normalization statistics that are not 0 and 1."""
  normalization.build([None, width])
  rng = np.random.default_rng(1)
  for weight in normalization.weights:
    weight.assign(rng.uniform(0.5, 1.5, weight.shape))
  return normalization


def dnn() -> Case:
  history, age, item, price = inputs = _inputs()
  pooled = layers.GlobalAveragePooling1D()(_embedding()(history))
  x = layers.Concatenate()([pooled, age, _embedding()(item), price])
  for width in (16, 8):
    x = _warmed(layers.BatchNormalization(), x.shape[-1])(x)
    x = layers.PReLU()(layers.Dense(width)(x))
  return _case(inputs, layers.Dense(1)(x))


def target_attention() -> Case:
  """Attention of the deep interest network: an MLP of key and query."""
  history, age, item, price = inputs = _inputs()
  keys, query = _embedding()(history), _embedding()(item)
  repeated = layers.RepeatVector(LENGTH)(query)
  pair = [keys, repeated, layers.Multiply()([keys, repeated])]
  x = layers.Dense(12, activation="sigmoid")(layers.Concatenate()(pair))
  weights = layers.Softmax(axis=1)(layers.Dense(1)(x))
  pooled = layers.Flatten()(layers.Dot(axes=1)([weights, keys]))
  x = layers.Concatenate()([pooled, age, query, price])
  return _case(inputs, layers.Dense(1)(layers.Dense(16, "relu")(x)))


def two_tower() -> Case:
  history, age, item, price = inputs = _inputs()
  pooled = layers.GlobalAveragePooling1D()(_embedding(True)(history))
  user = layers.Dense(16, "relu")(layers.Concatenate()([pooled, age]))
  item = layers.Concatenate()([_embedding()(item), price])
  item = layers.Dense(16, "relu")(item)
  dot = layers.Dot(axes=1, normalize=True)
  return _case(inputs, dot([layers.Dense(8)(user), layers.Dense(8)(item)]))


def deep_fm() -> Case:
  history, age, item, price = inputs = _inputs()
  pooled = layers.GlobalAveragePooling1D()(_embedding()(history))
  fields = [
    pooled,
    layers.Dense(WIDTH)(age),
    _embedding()(item),
    layers.Dense(WIDTH)(price),
  ]
  stacked = keras.ops.stack(fields, axis=1)
  square = keras.ops.square(keras.ops.sum(stacked, axis=1))
  squares = keras.ops.sum(keras.ops.square(stacked), axis=1)
  second_order = keras.ops.sum(square - squares, axis=1, keepdims=True)
  first_order = layers.Dense(1)(layers.Concatenate()([age, price]))
  deep = layers.Dense(16, "relu")(layers.Concatenate()(fields))
  score = 0.5 * second_order + first_order + layers.Dense(1)(deep)
  return _case(inputs, score)


def masked_attention() -> Case:
  history, age, item, price = inputs = _inputs()
  keys = layers.Dense(WIDTH)(_embedding(True)(history))
  query = layers.Dense(WIDTH)(_embedding()(item))
  query = layers.Reshape([1, WIDTH])(query)
  pooled = layers.Flatten()(layers.Attention()([query, keys]))
  x = layers.Concatenate()([pooled, age, price])
  x = _warmed(layers.BatchNormalization(), 16)(layers.Dense(16)(x))
  return _case(inputs, layers.Dense(1)(layers.Activation("gelu")(x)))


def transformer() -> Case:
  history, age, item, price = inputs = _inputs()
  x = _embedding(True)(history)
  x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
  x = x + layers.Dense(WIDTH)(layers.Dense(16, "relu")(x))
  pooled = layers.GlobalAveragePooling1D()(x)
  x = layers.Concatenate()([pooled, age, _embedding()(item), price])
  return _case(inputs, layers.Dense(1)(layers.Dense(16, "relu")(x)))


def multi_head_target_attention() -> Case:
  """Keras' own attention, the item being the query."""
  history, _, item, _ = inputs = _inputs()
  keys = _embedding(True)(history)
  query = layers.Reshape([1, WIDTH])(_embedding()(item))
  pooled = layers.MultiHeadAttention(2, 4)(query, keys)
  x = layers.Dense(16, "relu")(layers.Flatten()(pooled))
  return _case((inputs[0], inputs[2]), layers.Dense(1)(x))


def gru() -> Case:
  history, age, item, price = inputs = _inputs()
  user = layers.GRU(WIDTH)(_embedding(True)(history))
  item = _embedding()(item)
  x = layers.Concatenate()([age, user, item, user * item, price])
  return _case(inputs, layers.Dense(1)(layers.Dense(16, "relu")(x)))


def cross_network() -> Case:
  """Deep & cross: x0 is used by every layer, not only by the first."""
  history, age, item, price = inputs = _inputs()
  pooled = layers.GlobalMaxPooling1D()(_embedding()(history))
  first = layers.Concatenate()([pooled, age, _embedding()(item), price])
  x = first
  for _ in range(2):
    x = first * layers.Dense(first.shape[-1])(x) + x
  return _case(inputs, layers.Dense(1)(x))


def unsplittable() -> Case:
  """The item enters the history at the first op, and a loop follows."""
  history, _, item, _ = inputs = _inputs()
  table = _embedding()
  keys, query = table(history), table(item)
  product = keys * keras.ops.expand_dims(query, 1)
  x = layers.LSTM(WIDTH)(product)
  return _case((inputs[0], inputs[2]), layers.Dense(1)(x))


class FreeLength(tf.Module):
  """A function of TensorFlow; histories may be of any length.

  It mixes in what depends on shapes: positions, a fill and a broadcast.
  """

  def __init__(self) -> None:
    super().__init__()
    generator = tf.random.Generator.from_seed(3)
    self.table = tf.Variable(generator.normal([NUM_IDS, WIDTH]))
    self.kernel = tf.Variable(generator.normal([2 * WIDTH, WIDTH]))

  @tf.function(
    input_signature=[
      tf.TensorSpec([None, None], tf.int32, "history"),
      tf.TensorSpec([None], tf.int32, "item"),
    ]
  )
  def score(self, history: tf.Tensor, item: tf.Tensor) -> tf.Tensor:
    keys = tf.gather(self.table, history)  # [n, L, D]
    query = tf.gather(self.table, item)[:, None]  # [n, 1, D]
    query = tf.broadcast_to(query, tf.shape(keys))
    ages = tf.cast(tf.range(tf.shape(history)[1]), tf.float32)
    bias = tf.fill([tf.shape(history)[0], 1], 0.5) - 0.1 * ages[None]
    x = tf.concat([keys, query], axis=-1)
    x = tf.tanh(tf.tensordot(x, self.kernel, [[2], [0]]))
    weights = tf.nn.softmax(tf.reduce_sum(x, axis=2) + bias)
    pooled = tf.einsum("nl,nld->nd", weights, keys)
    return tf.reduce_sum(pooled * query[:, 0], axis=1)


def free_length() -> Case:
  module = FreeLength()
  # The function lives as long as its module.
  case = Case(module.score, ["history"], ["item"])
  module.score.owner = module
  return case


ALL = {
  make.__name__: make
  for make in (
    dnn,
    target_attention,
    two_tower,
    deep_fm,
    masked_attention,
    transformer,
    multi_head_target_attention,
    gru,
    cross_network,
    free_length,
    unsplittable,
  )
}
