"""What a server says about its model: signatures, and states of versions."""

from tensorflow_serving.apis import (
  get_model_metadata_pb2,
  get_model_status_pb2,
)

from nann.serving import errors
from nann.serving.predictor import Predictor, Spec

_Status = get_model_status_pb2.ModelVersionStatus


def metadata(
  predictor: Predictor, spec: Spec
) -> get_model_metadata_pb2.GetModelMetadataResponse:
  """Returns the signatures of a version.

  Raises:
    ServingError: There is no such model or version.
  """
  predictor.check_name(spec.model)
  response = get_model_metadata_pb2.GetModelMetadataResponse()
  with predictor.versions.use(spec.version, spec.label) as model:
    response.model_spec.name = predictor.model_name
    response.model_spec.version.value = model.version
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in model.definitions.items():
      signatures.signature_def[name].CopyFrom(definition)
  response.metadata["signature_def"].Pack(signatures)
  return response


def status(
  predictor: Predictor, spec: Spec
) -> get_model_status_pb2.GetModelStatusResponse:
  """Returns the states of all versions, or of one.

  Raises:
    ServingError: There is no such model or version.
  """
  predictor.check_name(spec.model)
  number = spec.version
  if spec.label is not None:
    with predictor.versions.use(label=spec.label) as model:
      number = model.version
  response = get_model_status_pb2.GetModelStatusResponse()
  for known in predictor.versions.statuses():
    if number is not None and known.version != number:
      continue
    added = response.model_version_status.add()
    added.version = known.version
    added.state = _Status.State.Value(known.state)
    added.status.SetInParent()
    if known.reason:
      added.status.error_code = errors.Code.UNKNOWN.value[0]
      added.status.error_message = known.reason
  if number is not None and not response.model_version_status:
    raise errors.not_found(f"there is no version {number}")
  return response
