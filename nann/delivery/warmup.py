"""Requests that a server answers before it serves a new version."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

_MODEL = "nann"

# (signature, inputs by name).
Request = tuple[str, Mapping[str, np.ndarray]]


def write(path: pathlib.Path, requests: Sequence[Request]) -> None:
  """Writes tf_serving_warmup_requests, as TensorFlow Serving reads it."""
  with tf.io.TFRecordWriter(str(path)) as writer:
    for signature, inputs in requests:
      request = predict_pb2.PredictRequest()
      request.model_spec.name = _MODEL
      request.model_spec.signature_name = signature
      for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
      log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
      )
      writer.write(log.SerializeToString())
