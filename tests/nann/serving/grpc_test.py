"""The gRPC services: answers, errors, health, reflection."""

from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
  ProtoReflectionDescriptorDatabase,
)
from tensorflow_serving.apis import (
  classification_pb2,
  get_model_metadata_pb2,
  get_model_status_pb2,
  model_management_pb2,
)

from tests.nann.serving import small_export
from tests.nann.serving.conftest import (
  NAME,
  TIMEOUT_S,
  Running,
  predict_request,
  refused,
  values,
)

Code = grpc.StatusCode
HISTORY = small_export.history(7, 9)


def test_retrieve_answers_with_defaults(running: Running) -> None:
  response = running.predict(history_item_ids=HISTORY)
  expected = small_export.expected(9, version=7)
  assert values(response, "item_ids").tolist() == [expected.item_ids]
  assert values(response, "scores").tolist() == [expected.scores]
  assert response.model_spec.name == NAME
  assert response.model_spec.version.value == 7
  assert response.model_spec.signature_name == "retrieve"


def test_answers_carry_typed_values(running: Running) -> None:
  """Clients of TensorFlow Serving read them directly."""
  response = running.predict(history_item_ids=HISTORY)
  expected = small_export.expected(9, version=7)
  assert list(response.outputs["item_ids"].int64_val) == expected.item_ids
  assert list(response.outputs["scores"].float_val) == expected.scores


def test_optional_inputs_are_taken(running: Running) -> None:
  response = running.predict(
    history_item_ids=HISTORY,
    k=np.int32(2),
    allowed_items=np.array([[30, 20]], np.int64),
  )
  assert values(response, "item_ids").tolist() == [[20, 30]]


def test_many_users_are_answered_each(running: Running) -> None:
  newest = np.array([[3], [20], [11]], np.int64)
  response = running.predict(history_item_ids=newest)
  assert values(response, "item_ids").tolist() == [
    small_export.expected(x, 7).item_ids for x in (3, 20, 11)
  ]


def test_documented_request_is_answered(running: Running) -> None:
  request = predict_request(
    "",
    comm_seq=np.zeros((1, small_export.WIDTH), np.float16),
    level_topn=[100, 200, 4],
  )
  response = running.prediction.Predict(request, timeout=TIMEOUT_S)
  assert values(response, "top_k").tolist() == [[1, 2, 3, 4]]
  assert response.model_spec.signature_name == "serving_default"


def test_text_passes_both_ways(running: Running) -> None:
  texts = np.array([[b"\xff\x00", b"plain"]], object)
  response = running.predict("echo", texts=texts)
  assert values(response, "texts").tolist() == [[b"\xff\x00", b"plain"]]


def test_output_filter_leaves_the_rest_out(running: Running) -> None:
  request = predict_request("retrieve", history_item_ids=HISTORY)
  request.output_filter.append("scores")
  response = running.prediction.Predict(request, timeout=TIMEOUT_S)
  assert list(response.outputs) == ["scores"]


def test_version_may_be_named(running: Running) -> None:
  request = predict_request("retrieve", history_item_ids=HISTORY)
  request.model_spec.version.value = 7
  running.prediction.Predict(request, timeout=TIMEOUT_S)
  request.model_spec.version.value = 8
  assert refused(
    lambda: running.prediction.Predict(request, timeout=TIMEOUT_S)
  ) == (Code.NOT_FOUND, "version 8 is not loaded; loaded: 7")


@pytest.mark.parametrize(
  ("signature", "inputs", "code", "message"),
  [
    ("nothing", {}, Code.NOT_FOUND, "no signature 'nothing', wanted one of"),
    ("retrieve", {}, Code.INVALID_ARGUMENT, "needs input 'history_item_ids'"),
    (
      "retrieve",
      {"history_item_ids": HISTORY, "users": [1]},
      Code.INVALID_ARGUMENT,
      "has no input 'users', wanted allowed_items, history_item_ids, k",
    ),
    (
      "retrieve",
      {"history_item_ids": [[1.5]]},
      Code.INVALID_ARGUMENT,
      "is of type float32, wanted int64",
    ),
    (
      "retrieve",
      {"history_item_ids": np.array([1, 2])},
      Code.INVALID_ARGUMENT,
      "has shape [2], wanted [?, ?]",
    ),
    (
      "",
      {"comm_seq": np.zeros((1, 3199), np.float16), "level_topn": [5]},
      Code.INVALID_ARGUMENT,
      "'comm_seq' has shape [1, 3199], wanted [?, 3200]",
    ),
    (
      "retrieve",
      {"history_item_ids": HISTORY, "k": np.int32(0)},
      Code.INVALID_ARGUMENT,
      "k is 0, wanted at least 1",
    ),
    (
      "retrieve",
      {"history_item_ids": HISTORY, "k": np.int32(2**31 - 1)},
      Code.INVALID_ARGUMENT,
      "for 2,147,483,647 answers, wanted at most 100,000",
    ),
    (
      "retrieve",
      {"history_item_ids": np.zeros((257, 1), np.int64)},
      Code.INVALID_ARGUMENT,
      "for 257 users, wanted at most 256",
    ),
    (
      "score",
      {"history_item_ids": HISTORY, "item_ids": np.zeros((2, 1), np.int64)},
      Code.INVALID_ARGUMENT,
      "'item_ids' is for 2 users, 'history_item_ids' for 1",
    ),
    (
      "retrieve",
      # Found out by the graph.
      {"history_item_ids": HISTORY, "k": np.int32(301)},
      Code.INVALID_ARGUMENT,
      "input must have at least k columns",
    ),
  ],
)
def test_bad_request_gets_a_sentence(
  running: Running,
  signature: str,
  inputs: dict[str, Any],
  code: Code,
  message: str,
) -> None:
  got_code, got_message = refused(lambda: running.predict(signature, **inputs))
  assert got_code == code
  assert message in got_message
  assert "\n" not in got_message
  assert "{{" not in got_message


def test_other_model_is_not_found(running: Running) -> None:
  request = predict_request("retrieve", history_item_ids=HISTORY)
  request.model_spec.name = "mnist"
  assert refused(lambda: running.prediction.Predict(request)) == (
    Code.NOT_FOUND,
    "there is no model 'mnist', wanted 'nann'",
  )


def test_damaged_message_is_invalid(running: Running) -> None:
  raw = predict_request("retrieve", history_item_ids=HISTORY)
  call = running.channel.unary_unary(
    "/tensorflow.serving.PredictionService/Predict"
  )
  code, message = refused(lambda: call(raw.SerializeToString()[:-3]))
  assert code == Code.INVALID_ARGUMENT
  assert "cannot be parsed" in message


def test_too_large_message_is_refused(running: Running) -> None:
  large = np.zeros((1, 3 << 20), np.int64)
  code, _ = refused(lambda: running.predict(history_item_ids=large))
  assert code == Code.RESOURCE_EXHAUSTED


def test_metadata_has_the_signatures(running: Running) -> None:
  request = get_model_metadata_pb2.GetModelMetadataRequest()
  request.model_spec.name = NAME
  request.metadata_field.append("signature_def")
  response = running.prediction.GetModelMetadata(request, timeout=TIMEOUT_S)
  signatures = get_model_metadata_pb2.SignatureDefMap()
  assert response.metadata["signature_def"].Unpack(signatures)
  assert sorted(signatures.signature_def) == [
    "echo",
    "retrieve",
    "score",
    "serving_default",
    "walk",
  ]
  comm_seq = signatures.signature_def["serving_default"].inputs["comm_seq"]
  assert comm_seq.dtype == tf.float16.as_datatype_enum
  request.metadata_field.append("weights")
  code, message = refused(lambda: running.prediction.GetModelMetadata(request))
  assert code == Code.INVALID_ARGUMENT
  assert "wanted ['signature_def']" in message


def test_status_has_the_version(running: Running) -> None:
  request = get_model_status_pb2.GetModelStatusRequest()
  request.model_spec.name = NAME
  response = running.models.GetModelStatus(request, timeout=TIMEOUT_S)
  [status] = response.model_version_status
  assert status.version == 7
  assert status.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
  assert status.status.error_code == 0
  request.model_spec.version.value = 3
  code, _ = refused(lambda: running.models.GetModelStatus(request))
  assert code == Code.NOT_FOUND


def test_other_methods_are_unimplemented(running: Running) -> None:
  code, message = refused(
    lambda: running.prediction.Classify(
      classification_pb2.ClassificationRequest()
    )
  )
  assert (code, message) == (
    Code.UNIMPLEMENTED,
    "Classify is not served here; use Predict",
  )
  reload = model_management_pb2.ReloadConfigRequest()
  code, _ = refused(lambda: running.models.HandleReloadConfigRequest(reload))
  assert code == Code.UNIMPLEMENTED


def test_health_is_serving(running: Running) -> None:
  stub = health_pb2_grpc.HealthStub(running.channel)
  for name in ("", "tensorflow.serving.PredictionService", NAME):
    request = health_pb2.HealthCheckRequest(service=name)
    response = stub.Check(request, timeout=TIMEOUT_S)
    assert response.status == health_pb2.HealthCheckResponse.SERVING
  request = health_pb2.HealthCheckRequest(service="other")
  assert refused(lambda: stub.Check(request))[0] == Code.NOT_FOUND


def test_reflection_lists_the_services(running: Running) -> None:
  database = ProtoReflectionDescriptorDatabase(running.channel)
  assert {
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
    "grpc.health.v1.Health",
  } <= set(database.get_services())


def test_request_of_the_past_is_not_run(running: Running) -> None:
  code, _ = refused(
    lambda: running.prediction.Predict(
      # Longer than the clock of the deadline is fine.
      predict_request("walk", length=np.int32((1 << 20) - 1)),
      timeout=0.0,
    )
  )
  assert code == Code.DEADLINE_EXCEEDED
