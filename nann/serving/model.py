"""One version of a model in memory: its signatures, and how to run them.

The session is TensorFlow's C++ one (ops/serving), which is loaded and runs
without the interpreter's lock. Runs happen in the caller's thread, which is the
fastest for requests that are one search each; parallel requests use the cores.
"""

import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from nann import ops, paths
from nann.serving import compiled, errors, signature, tensors
from nann.serving.call_limit import CallLimit

DEFAULT_SIGNATURE = "serving_default"
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
    try:
      self.native = compiled.Model(str(folder), str(ops.LIBRARY_PATH))
    except compiled.RunError as error:
      reason = errors.first_sentence(error.args[1])
      raise ValueError(
        f"{paths.SAVED_MODEL} cannot be loaded: {reason}"
      ) from error
    # What requests may use that do not come to Python; None: nothing.
    self.fast: compiled.Model | None = self.native
    meta_graph = meta_graph_pb2.MetaGraphDef.FromString(
      self.native.signature_defs()
    )
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
      found = self.native.run(
        name, [tensors.to_parts(array) for array in feeds], limit.address
      )
    except compiled.RunError as error:
      raise errors.from_status(*error.args) from error
    arrays = [tensors.from_parts(*parts) for parts in found]
    return dict(zip(self.signatures[name].outputs, arrays, strict=True))

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
    """Frees what the model holds, when nothing runs any more."""
    self.native.close()
