"""The compiled server: the same as Python's, but for the time it takes."""

import contextlib
import io
import pathlib
import re
import threading
import time
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import predict_pb2

from nann.serving import front
from nann.serving.call_limit import CallLimit
from tests.nann.serving import fuzz_test, small_export
from tests.nann.serving.conftest import (
  TIMEOUT_S,
  Running,
  predict_request,
  refused,
  running_server,
  values,
)
from tests.nann.serving.waiting import wait_until

Code = grpc.StatusCode
HISTORY = small_export.history(7, 9)
# A search that ends when the test does.
ENDLESS = np.int32((1 << 20) - 1)
NUM_COMPARED = 400

pytestmark = pytest.mark.skipif(
  not front.is_built(), reason="nann._front wants gRPC's C++ library"
)


@pytest.fixture(scope="module")
def native(exported: pathlib.Path) -> Iterator[Running]:
  with running_server(exported, front="native") as found:
    yield found


@pytest.fixture(scope="module")
def python(exported: pathlib.Path) -> Iterator[Running]:
  with running_server(exported, front="python") as found:
    yield found


def outcome(running: Running, raw: bytes) -> tuple[Code, str, object]:
  """Returns code, message and answer of a request."""
  call = running.channel.unary_unary(fuzz_test.PREDICT)
  try:
    answer = call(raw, timeout=TIMEOUT_S)
  except grpc.RpcError as error:
    return error.code(), error.details(), None
  return Code.OK, "", predict_pb2.PredictResponse.FromString(answer)


def num_in_python(running: Running) -> int:
  """Returns how many runs Python has started."""
  [model] = running.server.versions.models().values()
  return model.num_runs  # type: ignore[attr-defined]


@pytest.fixture
def counted(native: Running) -> Iterator[Running]:
  """The server, whose model counts the runs that Python starts."""
  [model] = native.server.versions.models().values()
  run = model.run
  model.num_runs = 0

  def counting(*arguments: object) -> object:
    model.num_runs += 1
    return run(*arguments)

  model.run = counting
  yield native
  model.run = run


VALID = (
  predict_request("retrieve", history_item_ids=HISTORY),
  predict_request("retrieve", history_item_ids=HISTORY, k=np.int32(2)),
  predict_request("retrieve", history_item_ids=np.array([[-1], [2**62]])),
  predict_request(
    "retrieve",
    history_item_ids=HISTORY,
    allowed_items=np.zeros((1, 0), np.int64),
  ),
  predict_request("score", history_item_ids=HISTORY, item_ids=HISTORY),
  predict_request(
    "score", history_item_ids=HISTORY, item_ids=small_export.history(0)
  ),
  predict_request(
    "",
    comm_seq=np.linspace(-3, 3, small_export.WIDTH)[None].astype(np.float16),
    level_topn=[100, 200, 4],
  ),
)


@pytest.mark.parametrize("number", range(len(VALID)))
def test_usual_requests_never_come_to_python(
  counted: Running, python: Running, number: int
) -> None:
  raw = VALID[number].SerializeToString()
  found = outcome(counted, raw)
  assert found[0] == Code.OK
  assert found == outcome(python, raw)
  assert num_in_python(counted) == 0


def as_typed_values(
  request: predict_pb2.PredictRequest,
) -> predict_pb2.PredictRequest:
  """Writes arrays as other libraries do: values in place of raw bytes."""
  found = predict_pb2.PredictRequest()
  found.CopyFrom(request)
  for tensor in found.inputs.values():
    content = tensor.tensor_content
    tensor.tensor_content = b""
    if tensor.dtype == 19:
      tensor.half_val.extend(np.frombuffer(content, np.uint16).tolist())
    elif content and tensor.dtype == 9:
      tensor.int64_val.extend(np.frombuffer(content, np.int64).tolist())
    elif content and tensor.dtype == 3:
      tensor.int_val.extend(np.frombuffer(content, np.int32).tolist())
  return found


@pytest.mark.parametrize("number", range(len(VALID)))
def test_typed_values_are_read_too(
  counted: Running, python: Running, number: int
) -> None:
  raw = as_typed_values(VALID[number]).SerializeToString()
  found = outcome(counted, raw)
  assert found[0] == Code.OK
  assert found == outcome(python, raw)
  assert found == outcome(python, VALID[number].SerializeToString())
  assert num_in_python(counted) == 0


def test_version_and_outputs_are_chosen_without_python(
  counted: Running, python: Running
) -> None:
  request = predict_request("retrieve", history_item_ids=HISTORY)
  request.model_spec.version.value = 7
  request.output_filter.extend(["scores", "num_scored", "scores"])
  raw = request.SerializeToString()
  assert outcome(counted, raw) == outcome(python, raw)
  assert num_in_python(counted) == 0


def test_malformed_requests_get_the_words_of_python(
  native: Running, python: Running
) -> None:
  rng = np.random.default_rng(5)
  num_ok = 0
  for _ in range(NUM_COMPARED):
    raw = fuzz_test.KINDS[rng.integers(len(fuzz_test.KINDS))](rng)
    found = outcome(native, raw)
    assert found == outcome(python, raw), raw
    num_ok += found[0] == Code.OK
  assert 0 < num_ok < NUM_COMPARED


def metric(running: Running, line: str) -> float:
  page = running.rest.get("/monitoring/prometheus/metrics").text
  found = re.search(rf"^{re.escape(line)} (\S+)$", page, re.MULTILINE)
  return float(found[1]) if found else 0.0


def test_metrics_hold_what_python_never_saw(counted: Running) -> None:
  labels = 'protocol="grpc",signature="retrieve"'
  lines = {
    f'nann_requests_total{{code="OK",{labels}}}': 3,
    f"nann_request_seconds_count{{{labels}}}": 3,
    'nann_num_scored_count{signature="retrieve"}': 6,
    'nann_num_scored_sum{signature="retrieve"}': 6 * small_export.NUM_ITEMS,
  }
  before = {line: metric(counted, line) for line in lines}
  for _ in range(3):
    counted.predict(history_item_ids=np.array([[3], [4]]))
  for line, number in lines.items():
    assert metric(counted, line) - before[line] == number, line
  assert num_in_python(counted) == 0


def test_each_request_has_a_line_in_the_log(exported: pathlib.Path) -> None:
  said = io.StringIO()
  with (
    contextlib.redirect_stderr(said),
    running_server(exported, front="native") as running,
  ):
    running.predict(history_item_ids=HISTORY)
    # Passed on: it is from the client all the same.
    refused(lambda: running.predict("nothing"))
  lines = [x for x in said.getvalue().splitlines() if " code=" in x]
  # What Python never saw is written a moment later.
  fast, passed_on = sorted(lines, key=lambda line: "NOT_FOUND" in line)
  pattern = (
    r"\S+Z protocol=grpc peer=ipv4:127\.0\.0\.1:\d+ signature=retrieve"
    r" version=7 users=1 scored=300 code=OK ms=\d+\.\d\d waited_ms=\d+\.\d\d"
  )
  assert re.fullmatch(pattern, fast)
  assert re.search(r" peer=ipv4:127\.0\.0\.1:\d+ code=NOT_FOUND ", passed_on)


@contextlib.contextmanager
def filled(running: Running) -> Iterator[list[grpc.Future]]:
  """Two endless searches run, three requests wait."""
  admission = running.server.admission
  endless = predict_request("walk", length=ENDLESS)
  futures = [running.prediction.Predict.future(endless) for _ in range(2)]
  wait_until(lambda: admission.num_running == 2)
  futures += [running.prediction.Predict.future(VALID[0]) for _ in range(3)]
  wait_until(lambda: admission.num_waiting == 3)
  try:
    yield futures
  finally:
    for future in futures[:2]:
      future.cancel()


@pytest.fixture
def small(exported: pathlib.Path) -> Iterator[Running]:
  """A server that runs 2 searches and lets 3 requests wait."""
  with running_server(
    exported, front="native", concurrency=2, max_queue=3, max_wait_ms=1e9
  ) as found:
    yield found


def test_overload_is_refused_at_once(small: Running) -> None:
  line = 'nann_requests_total{code="RESOURCE_EXHAUSTED",protocol="grpc",'
  with filled(small) as futures:
    assert refused(lambda: small.prediction.Predict(VALID[0])) == (
      Code.RESOURCE_EXHAUSTED,
      "5 requests are running or waiting already; try again later",
    )
    # All protocols, and requests passed on to Python, share the limits.
    body = {"signature_name": "retrieve", "inputs": {}}
    response = small.rest.post("/v1/models/nann:predict", json=body)
    assert response.status_code == 429
    assert metric(small, line + 'signature=""}') == 1
    assert metric(small, "nann_queue_depth") == 3
  for future in futures[2:]:
    assert values(future.result(TIMEOUT_S), "num_scored").tolist() == [300]


def test_deadline_passes_while_waiting(small: Running) -> None:
  with filled(small) as futures:
    futures[-1].cancel()
    wait_until(lambda: small.server.admission.num_waiting == 2)
    code, _ = refused(lambda: small.prediction.Predict(VALID[0], timeout=0.05))
    assert code == Code.DEADLINE_EXCEEDED
    wait_until(lambda: small.server.admission.num_waiting == 2)
  for future in futures[2:4]:
    future.result(TIMEOUT_S)
  wait_until(lambda: small.server.admission.num_running == 0)
  assert small.server.admission.wait_until_empty(TIMEOUT_S)


def test_python_and_native_requests_share_the_queue(small: Running) -> None:
  """A place that Python leaves goes to a request that Python never sees."""
  admission = small.server.admission
  leave = threading.Event()

  def hold() -> None:
    with admission.admitted(), admission.place(CallLimit()):
      leave.wait(TIMEOUT_S)

  threads = [threading.Thread(target=hold) for _ in range(2)]
  for thread in threads:
    thread.start()
  wait_until(lambda: admission.num_running == 2)
  future = small.prediction.Predict.future(VALID[0])
  wait_until(lambda: admission.num_waiting == 1)
  leave.set()
  assert values(future.result(TIMEOUT_S), "num_scored").tolist() == [300]
  for thread in threads:
    thread.join()


def test_shutdown_lets_requests_end_and_takes_no_more(
  exported: pathlib.Path,
) -> None:
  with running_server(exported, front="native", concurrency=2) as running:
    with filled(running) as futures:
      stopping = threading.Thread(target=running.server.stop)
      stopping.start()
      wait_until(lambda: not running.server.admission.is_open)
      assert refused(lambda: running.prediction.Predict(VALID[0])) == (
        Code.UNAVAILABLE,
        "the server is shutting down",
      )
      assert stopping.is_alive()
    for future in futures[2:]:
      assert values(future.result(TIMEOUT_S), "num_scored").tolist() == [300]
    begin = time.monotonic()
    stopping.join()
    assert time.monotonic() - begin < TIMEOUT_S / 2


def test_watcher_that_cannot_be_told_does_not_hold_up_the_end(
  exported: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  gone = threading.Event()
  with running_server(exported, front="native") as running:
    # As the health service does while a message to a watcher is not taken.
    monkeypatch.setattr(
      running.server._health, "set", lambda *_: gone.wait(TIMEOUT_S)
    )
    begin = time.monotonic()
    running.server.stop()
    assert time.monotonic() - begin < TIMEOUT_S / 2
    gone.set()


def test_streams_pass_both_ways(exported: pathlib.Path) -> None:
  with running_server(exported, front="native") as running:
    stub = health_pb2_grpc.HealthStub(running.channel)
    watched = stub.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
    stopping = threading.Thread(target=running.server.stop)
    stopping.start()
    assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watched.cancel()
    stopping.join()


def test_calls_beyond_the_bound_are_refused_unread(
  exported: pathlib.Path,
) -> None:
  with running_server(
    exported, front="native", concurrency=1, max_queue=1
  ) as running:
    stub = health_pb2_grpc.HealthStub(running.channel)
    streams = []

    def watch_often() -> None:
      for _ in range(1000):
        stream = stub.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        streams.append(stream)
        next(stream)

    assert refused(watch_often)[0] == Code.RESOURCE_EXHAUSTED
    assert refused(lambda: running.prediction.Predict(VALID[0])) == (
      Code.RESOURCE_EXHAUSTED,
      "too many calls; try again later",
    )
    for stream in streams:
      stream.cancel()

    def answers() -> bool:
      return outcome(running, VALID[0].SerializeToString())[0] == Code.OK

    wait_until(answers)


def test_what_is_not_built_is_not_needed(
  exported: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(front, "MODULE", "nann._nowhere")
  with running_server(exported, front="auto") as running:
    response = running.predict(history_item_ids=HISTORY)
    assert values(response, "num_scored").tolist() == [300]


def test_what_is_not_built_is_said(
  exported: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(front, "MODULE", "nann._nowhere")
  with (
    pytest.raises(
      ValueError, match="needs nann._nowhere: install gRPC's C\\+\\+"
    ),
    running_server(exported, front="native"),
  ):
    pass
