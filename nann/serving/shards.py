"""A model whose items are spread over servers: asks all, merges what they say.

It stands where a version in memory stands, so that the server around it (gRPC,
REST, admission, health, metrics) is the same. Signatures are those of the first
shard that give scores: without them there is nothing to merge by.
"""

import concurrent.futures
import pathlib
from collections.abc import Sequence

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
  get_model_metadata_pb2,
  prediction_service_pb2_grpc,
)

from nann.serving import errors, merging, signature
from nann.serving.call_limit import CallLimit
from nann.serving.client import Client
from nann.serving.model import Model
from nann.serving.signature import Arrays, TensorInfo
from nann.serving_settings import ServeSettings

_FIRST_ANSWER_S = 30.0
# Of the calls to the shards: threads that wait, not that work.
_THREADS_PER_SHARD = 64


class ShardedModel(Model):
  """Answers the signatures of its shards."""

  def __init__(
    self, addresses: Sequence[str], settings: ServeSettings, version: int
  ) -> None:
    """Asks the first shard for its signatures.

    Args:
      addresses: host:port of each shard's gRPC.
      settings: Name of the model, how late a shard may be, and what then.
      version: What clients are told.

    Raises:
      ValueError: The shard cannot be reached, or has no signature to merge.
    """
    self.version = version
    self.fast = None
    self._policy = settings.shard_policy
    self._timeout_s = settings.shard_timeout_ms / 1e3
    self._addresses = list(addresses)
    self._threads = concurrent.futures.ThreadPoolExecutor(
      _THREADS_PER_SHARD * len(addresses), thread_name_prefix="shard"
    )
    self.definitions = _definitions(self._addresses[0], settings.model_name)
    self.signatures = {
      name: signature.from_proto(name, definition)
      for name, definition in self.definitions.items()
    }
    self._clients = [
      Client(
        address,
        settings.model_name,
        self._timeout_s,
        max_attempts=1,
        max_message_mb=settings.max_message_mb,
      )
      for address in self._addresses
    ]

  def run(
    self, name: str, feeds: list[np.ndarray], limit: CallLimit
  ) -> dict[str, np.ndarray]:
    """Asks all shards and merges what they answer in time."""
    known = self.signatures[name].inputs.values()
    inputs = {
      info.name: array
      for info, array in zip(known, feeds, strict=True)
      if not _is_left_out(info, array)
    }
    left = limit.seconds_left()
    timeout_s = self._timeout_s if left is None else min(left, self._timeout_s)
    calls = [
      self._threads.submit(
        client.predict, name, inputs, timeout_s=max(timeout_s, 1e-3)
      )
      for client in self._clients
    ]
    concurrent.futures.wait(calls)
    limit.check()
    answers: list[Arrays] = []
    for address, call in zip(self._addresses, calls, strict=True):
      error = call.exception()
      if error is None:
        answers.append(dict(call.result().outputs))
      elif not isinstance(error, errors.ServingError):
        raise error
      elif self._policy == "all" or _is_of_the_request(error):
        raise _about(address, error)
    if not answers:
      raise errors.ServingError(
        errors.Code.UNAVAILABLE, f"none of {len(calls)} shards answered in time"
      )
    if "item_ids" in answers[0]:
      return merging.best_of(answers)
    return merging.scores_of(answers)

  def warm_up(self) -> int:
    """Does nothing: shards warm themselves up."""
    return 0

  def close(self) -> None:
    """Closes the connections."""
    self._threads.shutdown()
    for client in self._clients:
      client.close()


def make_base_path(folder: pathlib.Path) -> int:
  """Gives a router a folder with the only version that it serves."""
  version = 1
  (folder / str(version)).mkdir()
  return version


def _is_left_out(info: TensorInfo, array: np.ndarray) -> bool:
  """Returns whether an input is the empty one that stands for none."""
  default = info.default
  return default is not None and not array.size and array.shape == default.shape


def _is_of_the_request(error: errors.ServingError) -> bool:
  """Returns whether any shard would refuse the request."""
  return error.code in (
    errors.Code.INVALID_ARGUMENT,
    errors.Code.NOT_FOUND,
    errors.Code.UNIMPLEMENTED,
  )


def _about(address: str, error: errors.ServingError) -> errors.ServingError:
  code = error.code
  if code == errors.Code.INTERNAL:
    code = errors.Code.UNAVAILABLE
  return errors.ServingError(code, f"shard {address}: {error.message}")


def _definitions(
  address: str, model_name: str
) -> dict[str, meta_graph_pb2.SignatureDef]:
  """Returns the signatures of a shard that can be merged, and of the merged."""
  request = get_model_metadata_pb2.GetModelMetadataRequest()
  request.model_spec.name = model_name
  request.metadata_field.append("signature_def")
  with grpc.insecure_channel(address) as channel:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    try:
      response = stub.GetModelMetadata(
        request, timeout=_FIRST_ANSWER_S, wait_for_ready=True
      )
    except grpc.RpcError as error:
      raise ValueError(
        f"shard {address} does not tell its signatures: {error.details()};"
        " start it with --job-type serve first"
      ) from error
  known = get_model_metadata_pb2.SignatureDefMap()
  response.metadata["signature_def"].Unpack(known)
  found = {}
  for name, definition in known.signature_def.items():
    if "scores" not in definition.outputs:
      continue
    added = definition.outputs[merging.NUM_SHARDS]
    added.name = merging.NUM_SHARDS
    added.dtype = tf.int32.as_datatype_enum
    added.tensor_shape.dim.add().size = -1
    found[name] = definition
  if not found:
    raise ValueError(
      f"shard {address} has no signature that gives scores, such as retrieve"
    )
  return found
