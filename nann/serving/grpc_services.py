"""The services of TensorFlow Serving over gRPC: prediction and model status.

Messages are parsed here and not by the gRPC library, which would answer a
damaged one with INTERNAL.
"""

from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.protobuf import message as protobuf
from tensorflow_serving.apis import (
  get_model_metadata_pb2,
  get_model_status_pb2,
  model_pb2,
  predict_pb2,
)

from nann.serving import errors, model_info, tensors
from nann.serving.call_limit import CallLimit
from nann.serving.predictor import Answer, Call, Predictor, Spec
from nann.serving.signature import Arrays, Signature

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"

# As in ops/front/forwarding.cc.
_PEER = "nann-peer"

Method = Callable[[bytes, grpc.ServicerContext], bytes]

_NOT_SUPPORTED = {
  PREDICTION_SERVICE: ("Classify", "Regress", "MultiInference"),
  MODEL_SERVICE: ("HandleReloadConfigRequest",),
}


def parse(message_type: type[Any], raw: bytes) -> Any:
  """Parses a message. Raises ServingError if it is none."""
  try:
    return message_type.FromString(raw)
  except (protobuf.DecodeError, ValueError, RecursionError) as error:
    name = message_type.DESCRIPTOR.name
    raise errors.invalid(
      f"the request is no {name}: its {len(raw):,} bytes cannot be parsed"
    ) from error


def spec_of(message: model_pb2.ModelSpec) -> Spec:
  """Returns which model a message asks for."""
  choice = message.WhichOneof("version_choice")
  return Spec(
    message.name,
    message.signature_name,
    message.version.value if choice == "version" else None,
    message.version_label if choice == "version_label" else None,
  )


def predict_response(answer: Answer) -> predict_pb2.PredictResponse:
  """Returns an answer as a message."""
  response = predict_pb2.PredictResponse()
  response.model_spec.name = ""
  response.model_spec.signature_name = answer.signature
  response.model_spec.version.value = answer.version
  for name, array in answer.outputs.items():
    response.outputs[name].CopyFrom(tensors.to_proto(array))
  return response


class Services:
  """The methods of both services."""

  def __init__(self, predictor: Predictor) -> None:
    self._predictor = predictor

  def add_to(self, server: grpc.Server) -> None:
    """Registers all methods."""
    services: Mapping[str, dict[str, Method]] = {
      PREDICTION_SERVICE: {
        "Predict": self._predict,
        "GetModelMetadata": self._get_model_metadata,
      },
      MODEL_SERVICE: {"GetModelStatus": self._get_model_status},
    }
    for service, methods in services.items():
      for name in _NOT_SUPPORTED[service]:
        methods[name] = _not_supported(name)
      handlers = {
        name: grpc.unary_unary_rpc_method_handler(method)
        for name, method in methods.items()
      }
      server.add_registered_method_handlers(service, handlers)
      server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, handlers),)
      )

  def _predict(self, raw: bytes, context: grpc.ServicerContext) -> bytes:
    call = Call("grpc", _peer(context), CallLimit(context.time_remaining()))
    context.add_callback(call.limit.cancel)
    try:
      with self._predictor.observed(call), self._predictor.admission.admitted():
        request = parse(predict_pb2.PredictRequest, raw)

        def read_inputs(signature: Signature) -> Arrays:
          return {
            name: tensors.to_array(name, tensor)
            for name, tensor in request.inputs.items()
            # An unknown one is refused before its values are read.
            if name in signature.inputs or _refuse_input(signature, name)
          }

        answer = self._predictor.predict(
          call, spec_of(request.model_spec), read_inputs, request.output_filter
        )
        response = predict_response(answer)
        response.model_spec.name = self._predictor.model_name
        return response.SerializeToString()
    except errors.ServingError as error:
      return _fail(context, error)

  def _get_model_metadata(
    self, raw: bytes, context: grpc.ServicerContext
  ) -> bytes:
    try:
      request = parse(get_model_metadata_pb2.GetModelMetadataRequest, raw)
      fields = list(request.metadata_field)
      if fields != ["signature_def"]:
        raise errors.invalid(
          f"metadata_field is {fields}, wanted ['signature_def']"
        )
      return model_info.metadata(
        self._predictor, spec_of(request.model_spec)
      ).SerializeToString()
    except errors.ServingError as error:
      return _fail(context, error)

  def _get_model_status(
    self, raw: bytes, context: grpc.ServicerContext
  ) -> bytes:
    try:
      request = parse(get_model_status_pb2.GetModelStatusRequest, raw)
      return model_info.status(
        self._predictor, spec_of(request.model_spec)
      ).SerializeToString()
    except errors.ServingError as error:
      return _fail(context, error)


def _refuse_input(signature: Signature, name: str) -> bool:
  raise errors.invalid(
    f"signature {signature.name!r} has no input {name[:80]!r}, wanted"
    f" {', '.join(signature.inputs)}"
  )


def _not_supported(name: str) -> Method:
  def method(raw: bytes, context: grpc.ServicerContext) -> bytes:
    del raw
    error = errors.ServingError(
      errors.Code.UNIMPLEMENTED, f"{name} is not served here; use Predict"
    )
    return _fail(context, error)

  return method


def _peer(context: grpc.ServicerContext) -> str:
  """Returns where a request came from, if through a front, too."""
  peer: str = context.peer()
  # Only a front has the socket, and it passes on no such word of a client.
  if peer.startswith("unix:"):
    metadata = dict(context.invocation_metadata())
    return str(metadata.get(_PEER, peer))
  return peer


def _fail(context: grpc.ServicerContext, error: errors.ServingError) -> bytes:
  context.set_code(error.code)
  context.set_details(error.message)
  return b""
