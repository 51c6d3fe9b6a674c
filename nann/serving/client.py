"""A small typed client: sync, with a deadline, and retries where they help.

Only what is worth a second try is tried again: a server that is not there, or
too busy. Any client of TensorFlow Serving works as well.
"""

import dataclasses
import random
import time
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
from tensorflow_serving.apis import (
  get_model_status_pb2,
  model_service_pb2_grpc,
  predict_pb2,
  prediction_service_pb2_grpc,
)

from nann.serving import tensors
from nann.serving.errors import Code, ServingError

_WORTH_A_RETRY = (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 1.0


@dataclasses.dataclass(frozen=True)
class Prediction:
  """Any signature's answer.

  Attributes:
    version: Of the model that answered.
    outputs: By name.
  """

  version: int
  outputs: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Retrieved:
  """The best items of B users.

  Attributes:
    version: Of the model that answered.
    item_ids: [B, K], best first.
    scores: [B, K] float32.
    num_scored: [B] int32, items that were scored.
    num_unknown: [B] int32, items of the history that the model does not know.
  """

  version: int
  item_ids: np.ndarray
  scores: np.ndarray
  num_scored: np.ndarray
  num_unknown: np.ndarray


class Client:
  """Asks a server; may be used by many threads."""

  def __init__(
    self,
    target: str = "127.0.0.1:8500",
    model: str = "nann",
    timeout_s: float = 1.0,
    max_attempts: int = 4,
    credentials: grpc.ChannelCredentials | None = None,
    max_message_mb: int = 64,
  ) -> None:
    """Connects when first used.

    Args:
      target: host:port of the server's gRPC.
      model: Its name.
      timeout_s: Deadline of a request, retries included.
      max_attempts: Of a request; 1: no retries.
      credentials: For TLS; None: plain.
      max_message_mb: Largest answer, in MiB.
    """
    options = [("grpc.max_receive_message_length", max_message_mb << 20)]
    if credentials is None:
      self._channel = grpc.insecure_channel(target, options)
    else:
      self._channel = grpc.secure_channel(target, credentials, options)
    self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(
      self._channel
    )
    self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)
    self._model = model
    self._timeout_s = timeout_s
    self._max_attempts = max_attempts

  def __enter__(self) -> "Client":
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def close(self) -> None:
    """Closes the connection."""
    self._channel.close()

  def retrieve(
    self,
    history_item_ids: np.ndarray,
    *,
    history_category_ids: np.ndarray | None = None,
    k: int | None = None,
    allowed_items: np.ndarray | None = None,
    excluded_items: np.ndarray | None = None,
    timeout_s: float | None = None,
  ) -> Retrieved:
    """Returns the best items for users.

    Args:
      history_item_ids: [B, n] ids, oldest first; unknown ids are padding.
      history_category_ids: [B, n]; None: as in training.
      k: Items a user; None: as exported.
      allowed_items: [B, m], the only ones that may be returned.
      excluded_items: [B, m], which may not.
      timeout_s: Deadline; None: the client's.

    Raises:
      ServingError: There was no answer.
    """
    inputs = {
      "history_item_ids": history_item_ids,
      "history_category_ids": history_category_ids,
      "k": None if k is None else np.int32(k),
      "allowed_items": allowed_items,
      "excluded_items": excluded_items,
    }
    found = self.predict("retrieve", inputs, timeout_s=timeout_s)
    names = ("item_ids", "scores", "num_scored", "num_unknown")
    return Retrieved(found.version, *(found.outputs[name] for name in names))

  def score(
    self,
    history_item_ids: np.ndarray,
    item_ids: np.ndarray,
    *,
    timeout_s: float | None = None,
  ) -> np.ndarray:
    """Returns [B, m] float32 scores of items [B, m]; -inf for unknown ones.

    Raises:
      ServingError: There was no answer.
    """
    inputs = {"history_item_ids": history_item_ids, "item_ids": item_ids}
    found = self.predict("score", inputs, timeout_s=timeout_s)
    return found.outputs["scores"]

  def top_k(
    self,
    comm_seq: np.ndarray,
    level_topn: np.ndarray,
    *,
    timeout_s: float | None = None,
  ) -> np.ndarray:
    """Asks by the documented contract.

    Args:
      comm_seq: [B, L * 2 * emb_dim] float16, the history's embeddings.
      level_topn: [S + 1] int32, beam widths, k last.
      timeout_s: Deadline; None: the client's.

    Returns:
      [B, K] int64 ids.

    Raises:
      ServingError: There was no answer.
    """
    inputs = {
      "comm_seq": np.asarray(comm_seq, np.float16),
      "level_topn": np.asarray(level_topn, np.int32),
    }
    return self.predict("", inputs, timeout_s=timeout_s).outputs["top_k"]

  def predict(
    self,
    signature: str,
    inputs: Mapping[str, Any],
    *,
    version: int | None = None,
    timeout_s: float | None = None,
  ) -> Prediction:
    """Calls any signature.

    Args:
      signature: Its name; empty: the default one.
      inputs: Arrays by name; None: left out.
      version: Of the model; None: the newest.
      timeout_s: Deadline; None: the client's.

    Raises:
      ServingError: There was no answer.
    """
    request = predict_pb2.PredictRequest()
    request.model_spec.name = self._model
    request.model_spec.signature_name = signature
    if version is not None:
      request.model_spec.version.value = version
    for name, value in inputs.items():
      if value is not None:
        request.inputs[name].CopyFrom(tensors.to_proto(_array(value)))
    response = self._with_retries(self._prediction.Predict, request, timeout_s)
    outputs = {
      name: tensors.to_array(name, tensor)
      for name, tensor in response.outputs.items()
    }
    return Prediction(response.model_spec.version.value, outputs)

  def versions(self) -> dict[int, str]:
    """Returns the state of each version of the model, such as AVAILABLE.

    Raises:
      ServingError: There was no answer.
    """
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = self._model
    response = self._with_retries(self._models.GetModelStatus, request, None)
    state = get_model_status_pb2.ModelVersionStatus.State
    return {
      status.version: state.Name(status.state)
      for status in response.model_version_status
    }

  def _with_retries(
    self, method: Any, request: Any, timeout_s: float | None
  ) -> Any:
    end = time.monotonic() + (timeout_s or self._timeout_s)
    pause_s = _FIRST_PAUSE_S
    for attempt in range(1, self._max_attempts + 1):
      try:
        return method(request, timeout=max(0.0, end - time.monotonic()))
      except grpc.RpcError as error:
        # Clients that were refused together do not come back together.
        wait_s = random.uniform(0.5, 1.0) * pause_s
        is_last = (
          error.code() not in _WORTH_A_RETRY
          or attempt == self._max_attempts
          or time.monotonic() + wait_s >= end
        )
        if is_last:
          raise ServingError(error.code(), error.details()) from error
      time.sleep(wait_s)
      pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    raise AssertionError("the last attempt returns or raises")


def _array(value: Any) -> np.ndarray:
  array = np.asarray(value)
  if array.dtype.kind == "U":
    return np.char.encode(array, "utf-8").astype(object)
  return array
