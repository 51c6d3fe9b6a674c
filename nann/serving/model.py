"""One version of a model in memory: its graph in a session, its signatures.

Runs happen in the caller's thread, which is the fastest for requests that are
one search each; parallel requests use the cores.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.saved_model import loader_impl
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from nann import ops, paths
from nann.serving import errors, signature, tensors
from nann.serving.call_limit import CallLimit

DEFAULT_SIGNATURE = "serving_default"
_SERVE = "serve"
_PREDICT = "tensorflow/serving/predict"
_NO_LIMITS = signature.Limits(1 << 40, 1 << 40)


class Model:
  """Answers the signatures of a SavedModel."""

  def __init__(self, folder: pathlib.Path, version: int) -> None:
    """Loads a version.

    Args:
      folder: Holds saved_model.pb.
      version: Its number.

    Raises:
      ValueError: It cannot be loaded, with the reason.
    """
    self.version = version
    self._folder = folder
    if not (folder / paths.SAVED_MODEL).is_file():
      raise ValueError(f"{folder / paths.SAVED_MODEL} is missing")
    ops.library()
    ops.expect_float16()
    options = config_pb2.ConfigProto(
      intra_op_parallelism_threads=1, inter_op_parallelism_threads=-1
    )
    self._session = tf.compat.v1.Session(graph=tf.Graph(), config=options)
    try:
      self._load()
    except (tf.errors.OpError, OSError, RuntimeError, TypeError) as error:
      self.close()
      raise ValueError(errors.first_sentence(str(error))) from error
    except ValueError:
      self.close()
      raise

  def _load(self) -> None:
    with self._session.graph.as_default():
      loader = loader_impl.SavedModelLoader(str(self._folder))
      meta_graph = loader.load(self._session, [_SERVE])
    self.definitions: dict[str, meta_graph_pb2.SignatureDef] = {
      name: definition
      for name, definition in meta_graph.signature_def.items()
      if definition.method_name == _PREDICT
    }
    self.signatures = {
      name: signature.from_proto(name, definition)
      for name, definition in self.definitions.items()
    }
    if not self.signatures:
      raise ValueError("the model has no signature")
    self._callables = {
      name: self._callable(known) for name, known in self.signatures.items()
    }

  def _callable(self, known: signature.Signature) -> Any:
    options = config_pb2.CallableOptions(
      feed=[info.tensor for info in known.inputs.values()],
      fetch=[info.tensor for info in known.outputs.values()],
    )
    # The public make_callable goes through Session.run if there are feeds,
    # which takes longer than many a search.
    return self._session._make_callable_from_options(options)

  def signature(self, name: str) -> signature.Signature:
    """Returns a signature; without a name the default one.

    Raises:
      ServingError: There is none of this name.
    """
    found = self.signatures.get(name or DEFAULT_SIGNATURE)
    if found is None:
      raise errors.not_found(
        f"version {self.version} has no signature {name[:80]!r}, wanted one of"
        f" {', '.join(sorted(self.signatures))}"
      )
    return found

  def run(
    self, name: str, feeds: list[np.ndarray], limit: CallLimit
  ) -> dict[str, np.ndarray]:
    """Runs a signature in this thread.

    Args:
      name: Of the signature.
      feeds: As `Signature.feeds` gives them.
      limit: Ends the run when it is over.

    Returns:
      All outputs.

    Raises:
      ServingError: The run failed.
    """
    try:
      found = limit.run(self._callables[name], feeds)
    except tf.errors.OpError as error:
      raise errors.from_tensorflow(error) from error
    return dict(zip(self.signatures[name].outputs, found, strict=True))

  def warm_up(self) -> int:
    """Runs the requests that the export has put beside the model.

    Returns:
      How many there were.

    Raises:
      ValueError: One of them failed, so the model is broken.
    """
    number = 0
    try:
      for request in self._warm_up_requests():
        known = self.signature(request.model_spec.signature_name)
        arrays = {
          name: tensors.to_array(name, tensor)
          for name, tensor in request.inputs.items()
        }
        self.run(known.name, known.feeds(arrays, _NO_LIMITS), CallLimit())
        number += 1
    except (errors.ServingError, tf.errors.OpError) as error:
      reason = errors.first_sentence(str(error))
      raise ValueError(f"warm-up request {number}: {reason}") from error
    return number

  def _warm_up_requests(self) -> Iterator[predict_pb2.PredictRequest]:
    path = self._folder / paths.WARMUP_REQUESTS
    if not path.exists():
      return
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
      try:
        log = prediction_log_pb2.PredictionLog.FromString(record)
      except Exception as error:
        raise ValueError(
          f"{paths.WARMUP_REQUESTS} holds a damaged record"
        ) from error
      if log.HasField("predict_log"):
        yield log.predict_log.request

  def close(self) -> None:
    """Frees what the model holds; nothing may run."""
    self._callables = {}
    self._session.close()
    del self._session
