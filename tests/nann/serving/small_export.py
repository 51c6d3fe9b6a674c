"""A small exported version with the signatures of a real one, made in a second.

An item's score is how near its id lies to the newest one of the history, plus
the version, so that every answer betrays which version gave it.
"""

import dataclasses
import functools
import pathlib
import tempfile

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from nann import files, ops, paths

NUM_ITEMS, WIDTH, DEFAULT_K = 300, 3200, 5
# Stands in the graph until `publish` puts the version there.
_VERSION = 123456.0


def _spec(shape: list[int | None], dtype: tf.DType, name: str) -> tf.TensorSpec:
  return tf.TensorSpec(shape, dtype, name=name)


class SmallModel(tf.Module):
  """Items 1 to NUM_ITEMS; id 0 is padding."""

  def _scores(self, history: tf.Tensor) -> tf.Tensor:
    """Returns [B, NUM_ITEMS] float32."""
    newest = tf.cast(tf.reduce_max(history, axis=1, keepdims=True), tf.float32)
    items = tf.range(1.0, NUM_ITEMS + 1.0)
    return _VERSION - tf.abs(items[None] - newest)

  @tf.function(
    input_signature=[
      _spec([None, None], tf.int64, "history_item_ids"),
      _spec([], tf.int32, "k"),
      _spec([None, None], tf.int64, "allowed_items"),
    ]
  )
  def retrieve(
    self, history: tf.Tensor, k: tf.Tensor, allowed: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    scores = self._scores(history)
    items = tf.range(1, NUM_ITEMS + 1, dtype=tf.int64)
    is_allowed = tf.reduce_any(items[None, :, None] == allowed[:, None], axis=2)
    is_allowed |= tf.shape(allowed)[1] == 0
    found = tf.math.top_k(tf.where(is_allowed, scores, -np.inf), k)
    num_users = tf.shape(history)[0]
    return {
      "item_ids": tf.cast(found.indices + 1, tf.int64),
      "scores": found.values,
      "num_scored": tf.fill([num_users], NUM_ITEMS),
      "num_unknown": tf.math.count_nonzero(
        history > NUM_ITEMS, axis=1, dtype=tf.int32
      ),
    }

  @tf.function(
    input_signature=[
      _spec([None, WIDTH], tf.float16, "comm_seq"),
      _spec([None], tf.int32, "level_topn"),
    ]
  )
  def documented(
    self, comm_seq: tf.Tensor, level_topn: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    history = tf.cast(tf.reduce_max(comm_seq, axis=1, keepdims=True), tf.int64)
    found = tf.math.top_k(self._scores(history), level_topn[-1])
    return {"top_k": tf.cast(found.indices + 1, tf.int64)}

  @tf.function(
    input_signature=[
      _spec([None, None], tf.int64, "history_item_ids"),
      _spec([None, None], tf.int64, "item_ids"),
    ]
  )
  def score(
    self, history: tf.Tensor, item_ids: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    scores = self._scores(history)
    known = (item_ids >= 1) & (item_ids <= NUM_ITEMS)
    places = tf.where(known, item_ids - 1, 0)
    found = tf.gather(scores, places, axis=1, batch_dims=1)
    return {"scores": tf.where(known, found, -np.inf)}

  @tf.function(input_signature=[_spec([None, None], tf.string, "texts")])
  def echo(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"texts": texts}

  @tf.function(input_signature=[_spec([], tf.int32, "length")])
  def walk(self, length: tf.Tensor) -> dict[str, tf.Tensor]:
    """Walks a chain of `length` items, a hop each: a search that takes long."""
    level = (
      tf.minimum(tf.range(1, length + 1), length - 1),
      tf.range(tf.cast(length, tf.int64) + 1),
    )
    found = ops.beam_search(
      [level],
      tf.constant([0]),
      lambda user, items: items + user,
      tf.zeros([1, 1]),
      tf.cast(tf.range(length), tf.float32),
      tf.constant([[0]]),
      tf.zeros([1, 0], tf.int32),
      1,
      limits=[1, 1, 1 << 20, 1 << 30],
    )
    return {"last": found.rows}


def history(*item_ids: int) -> np.ndarray:
  """Returns [1, n] int64."""
  return np.array([item_ids], np.int64)


@dataclasses.dataclass(frozen=True)
class Expected:
  """What a version retrieves for the newest item of a history."""

  item_ids: list[int]
  scores: list[float]


def expected(newest: int, version: int, k: int = DEFAULT_K) -> Expected:
  """Returns the answer by sorting all items."""
  distances = [(abs(item - newest), item) for item in range(1, NUM_ITEMS + 1)]
  best = sorted(distances)[:k]
  return Expected([x for _, x in best], [float(version - d) for d, _ in best])


def publish(base_path: pathlib.Path, version: int) -> pathlib.Path:
  """Writes a version folder whole, as an export does."""
  folder = base_path / str(version)
  with files.folder_written_whole(folder) as temporary:
    saved = saved_model_pb2.SavedModel.FromString(_saved_model())
    graph = saved.meta_graphs[0].graph_def
    for function in graph.library.function:
      for node in function.node_def:
        if node.op == "Const":
          values = node.attr["value"].tensor.float_val
          if list(values) == [_VERSION]:
            values[0] = version
    path = temporary / "saved_model.pb"
    path.write_bytes(saved.SerializeToString())
    write_warm_up(temporary, history(3))
  return folder


@functools.cache
def _saved_model() -> bytes:
  """Returns the file saved_model.pb of a version still to be named."""
  module = SmallModel()
  with tempfile.TemporaryDirectory() as folder:
    tf.saved_model.save(
      module,
      folder,
      signatures={
        "serving_default": module.documented,
        "retrieve": module.retrieve,
        "score": module.score,
        "echo": module.echo,
        "walk": module.walk,
      },
      options=tf.saved_model.SaveOptions(namespace_whitelist=["Nann"]),
    )
    content = (pathlib.Path(folder) / "saved_model.pb").read_bytes()
  saved = saved_model_pb2.SavedModel.FromString(content)
  # Nothing is restored: there are no variables.
  saved.meta_graphs[0].ClearField("saver_def")
  defaults = saved.meta_graphs[0].signature_def["retrieve"].defaults
  defaults["k"].CopyFrom(tf.make_tensor_proto(np.int32(DEFAULT_K)))
  defaults["allowed_items"].CopyFrom(
    tf.make_tensor_proto(np.zeros([1, 0], np.int64))
  )
  return saved.SerializeToString()


def write_warm_up(folder: pathlib.Path, item_ids: np.ndarray) -> None:
  """Puts a retrieve request beside the model."""
  log = prediction_log_pb2.PredictionLog()
  request = log.predict_log.request
  request.CopyFrom(predict_pb2.PredictRequest())
  request.model_spec.signature_name = "retrieve"
  request.inputs["history_item_ids"].CopyFrom(tf.make_tensor_proto(item_ids))
  path = folder / paths.WARMUP_REQUESTS
  path.parent.mkdir(exist_ok=True)
  with tf.io.TFRecordWriter(str(path)) as writer:
    writer.write(log.SerializeToString())
