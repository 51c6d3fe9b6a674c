"""The REST interface: both formats, errors, status, metadata, metrics."""

import json
from typing import Any

import httpx
import pytest

from tests.nann.serving import small_export
from tests.nann.serving.conftest import Running

PREDICT = "/v1/models/nann:predict"


def post(running: Running, **content: Any) -> httpx.Response:
  return running.rest.post(PREDICT, json=content)


def test_columns_are_answered_in_columns(running: Running) -> None:
  response = post(
    running,
    signature_name="retrieve",
    inputs={"history_item_ids": [[7, 9], [3, 0]], "k": 3},
  )
  assert response.status_code == 200
  outputs = response.json()["outputs"]
  two = [small_export.expected(x, 7, k=3) for x in (9, 3)]
  assert outputs["item_ids"] == [x.item_ids for x in two]
  assert outputs["scores"] == [x.scores for x in two]
  assert outputs["num_scored"] == [300, 300]


def test_rows_are_answered_in_rows(running: Running) -> None:
  rows = [{"history_item_ids": [x], "k": 2} for x in (9, 3)]
  response = post(running, signature_name="retrieve", instances=rows)
  found = response.json()["predictions"]
  two = [small_export.expected(x, 7, k=2) for x in (9, 3)]
  assert [row["item_ids"] for row in found] == [x.item_ids for x in two]
  assert [row["num_scored"] for row in found] == [300, 300]


def test_single_input_and_output_need_no_names(running: Running) -> None:
  texts = [["a", {"b64": "/wA="}]]
  for key, wanted in (("inputs", "outputs"), ("instances", "predictions")):
    response = post(running, signature_name="echo", **{key: texts})
    assert response.json() == {wanted: texts}


def test_documented_request_is_answered(running: Running) -> None:
  zeros = [0.0] * small_export.WIDTH
  instances = [{"comm_seq": zeros, "level_topn": [100, 200, 3]}] * 2
  response = post(running, instances=instances)
  assert response.json() == {"predictions": [[1, 2, 3]] * 2}


def test_unknown_items_score_minus_infinity(running: Running) -> None:
  inputs = {"history_item_ids": [[9]], "item_ids": [[9, 999]]}
  response = post(running, signature_name="score", inputs=inputs)
  # As TensorFlow Serving writes it.
  assert response.json() == {"outputs": [[7.0, float("-inf")]]}


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ({}, 'wanted either "instances"'),
    ({"inputs": {}, "instances": []}, 'wanted either "instances"'),
    ({"inputs": {}, "signature": "x"}, "unknown key 'signature'"),
    ({"inputs": {"k": [[1]]}}, "has no input 'k'"),
    ({"inputs": [[1]]}, '"inputs" is no object of columns'),
    ({"instances": []}, '"instances" is no list of at least one row'),
    (
      {"instances": [{"comm_seq": [0]}, {}]},
      "row 1 of the instances has nothing, wanted comm_seq",
    ),
    (
      {"instances": [{"level_topn": [1]}, {"level_topn": [2]}]},
      "'level_topn' is one for all users",
    ),
    ({"inputs": {"comm_seq": [[1], [1, 2]]}}, "'comm_seq' is ragged"),
    ({"inputs": {"comm_seq": [[1, [2]]]}}, "'comm_seq' is ragged"),
    ({"inputs": {"comm_seq": [["x"]]}}, "holds 'x', wanted float16"),
    ({"inputs": {"comm_seq": [[True]]}}, "holds 'True', wanted float16"),
    ({"inputs": {"level_topn": [1.5]}}, "holds '1.5', wanted int32"),
    ({"inputs": {"level_topn": [2**40]}}, "holds a value that is no int32"),
    ({"inputs": {"comm_seq": []}}, "needs input 'level_topn'"),
    ({"inputs": {}, "signature_name": 3}, "signature_name is no text"),
    (
      {"signature_name": "echo", "inputs": [[{"b64": "%"}]]},
      "holds damaged base64",
    ),
    (
      {"signature_name": "echo", "inputs": [[5]]},
      "holds '5', wanted text or",
    ),
  ],
)
def test_bad_request_gets_a_sentence(
  running: Running, content: dict[str, Any], message: str
) -> None:
  response = post(running, **content)
  assert response.status_code == 400
  assert message in response.json()["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_body_that_is_no_object_is_refused(
  running: Running, body: bytes
) -> None:
  response = running.rest.post(PREDICT, content=body)
  assert response.status_code == 400
  assert "the body is no JSON" in response.json()["error"]


def test_too_large_body_is_refused(running: Running) -> None:
  response = running.rest.post(PREDICT, content=b" " * ((16 << 20) + 1))
  assert response.status_code == 429
  assert "over 16,777,216 bytes" in response.json()["error"]


@pytest.mark.parametrize(
  ("path", "status"),
  [
    ("/v1/models/mnist:predict", 404),
    ("/v1/models/nann/versions/8:predict", 404),
    ("/v1/models/nann/versions/x:predict", 400),
    ("/v1/models/nann/labels/stable:predict", 404),
    ("/v1/models/nann:classify", 501),
    ("/nowhere", 404),
  ],
)
def test_wrong_path_gets_a_sentence(
  running: Running, path: str, status: int
) -> None:
  inputs = {"history_item_ids": [[9]]}
  content = {"signature_name": "retrieve", "inputs": inputs}
  response = running.rest.post(path, json=content)
  assert response.status_code == status
  assert len(response.json()["error"]) > 10


def test_version_may_be_named(running: Running) -> None:
  content = {
    "signature_name": "retrieve",
    "inputs": {"history_item_ids": [[9]]},
  }
  path = "/v1/models/nann/versions/7:predict"
  assert running.rest.post(path, json=content).status_code == 200


def test_status_and_metadata_are_told(running: Running) -> None:
  assert running.rest.get("/v1/models/nann").json() == {
    "model_version_status": [
      {
        "version": "7",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
      }
    ]
  }
  for path in ("/v1/models/nann", "/v1/models/nann/versions/7"):
    metadata = running.rest.get(path + "/metadata").json()
    assert metadata["model_spec"]["version"] == "7"
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert signatures["retrieve"]["inputs"]["k"]["dtype"] == "DT_INT32"
  assert running.rest.get("/v1/models/nann/versions/3").status_code == 404


def test_health_is_told(running: Running) -> None:
  assert running.rest.get("/healthz").status_code == 200


def test_metrics_count_what_happened(running: Running) -> None:
  def figures() -> dict[str, float]:
    page = running.rest.get("/monitoring/prometheus/metrics").text
    lines = [x for x in page.splitlines() if not x.startswith("#")]
    return {x.rsplit(" ", 1)[0]: float(x.rsplit(" ", 1)[1]) for x in lines}

  before = figures()
  inputs = {"history_item_ids": [[9], [3]]}
  post(running, signature_name="retrieve", inputs=inputs)
  post(running, signature_name="retrieve", inputs={})
  after = figures()

  def grown(name: str) -> float:
    return after[name] - before.get(name, 0.0)

  labels = 'protocol="rest",signature="retrieve"'
  assert grown(f'nann_requests_total{{code="OK",{labels}}}') == 1
  assert grown(f'nann_requests_total{{code="INVALID_ARGUMENT",{labels}}}') == 1
  assert grown(f"nann_request_seconds_count{{{labels}}}") == 1
  assert grown('nann_num_scored_sum{signature="retrieve"}') == 600
  assert after["nann_model_version"] == 7
  assert after["nann_queue_depth"] == 0


def test_answers_are_json(running: Running) -> None:
  inputs = {"history_item_ids": [[9]]}
  response = post(running, signature_name="retrieve", inputs=inputs)
  assert response.headers["content-type"] == "application/json"
  json.loads(response.content)
