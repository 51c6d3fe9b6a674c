"""Overload, deadlines, cancellation and shutdown, with searches that wait."""

import contextlib
import json
import pathlib
import socket
import threading
import time
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nann.serving.call_limit import CallLimit
from nann.serving.model import Model
from tests.nann.serving import small_export
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
REQUEST = predict_request("retrieve", history_item_ids=small_export.history(9))
RETRIEVE = {
  "signature_name": "retrieve",
  "inputs": {"history_item_ids": [[9]]},
}


class Gate:
  """Holds every search until it is opened."""

  def __init__(self) -> None:
    self.is_open = threading.Event()
    self.num_runs = 0

  def load(self, folder: pathlib.Path, version: int) -> Model:
    model = Model(folder, version)
    # What does not come to Python would not be held.
    model.fast = None
    run = model.run

    def held(name: str, feeds: list[np.ndarray], limit: CallLimit) -> object:
      self.num_runs += 1
      assert self.is_open.wait(TIMEOUT_S)
      return run(name, feeds, limit)

    model.run = held  # type: ignore[method-assign]
    return model


@pytest.fixture
def gate() -> Gate:
  return Gate()


@pytest.fixture
def held(exported: pathlib.Path, gate: Gate) -> Iterator[Running]:
  """A server that runs 2 searches and lets 3 wait."""
  with running_server(
    exported, load=gate.load, concurrency=2, max_queue=3, rest_timeout_s=60.0
  ) as running:
    yield running
    gate.is_open.set()


@contextlib.contextmanager
def filled(running: Running, gate: Gate) -> Iterator[list[grpc.Future]]:
  """Sends as many requests as the server takes; opens the gate at the end."""
  admission = running.server.admission
  futures = [running.prediction.Predict.future(REQUEST) for _ in range(2)]
  wait_until(lambda: admission.num_running == 2)
  futures += [running.prediction.Predict.future(REQUEST) for _ in range(3)]
  wait_until(lambda: admission.num_waiting == 3)
  try:
    yield futures
  finally:
    gate.is_open.set()


def test_overload_is_refused_at_once(held: Running, gate: Gate) -> None:
  with filled(held, gate) as accepted:
    code, message = refused(lambda: held.prediction.Predict(REQUEST))
    assert code == Code.RESOURCE_EXHAUSTED
    assert message == (
      "5 requests are running or waiting already; try again later"
    )
    # All protocols share the queue.
    response = held.rest.post("/v1/models/nann:predict", json=RETRIEVE)
    assert response.status_code == 429
    assert gate.num_runs == 2
  for future in accepted:
    assert values(future.result(TIMEOUT_S), "num_scored").tolist() == [300]
  assert gate.num_runs == 5
  held.prediction.Predict(REQUEST, timeout=TIMEOUT_S)


def test_health_and_status_answer_under_overload(
  held: Running, gate: Gate
) -> None:
  with filled(held, gate):
    stub = health_pb2_grpc.HealthStub(held.channel)
    request = health_pb2.HealthCheckRequest()
    assert stub.Check(request, timeout=TIMEOUT_S).status == 1
    assert held.rest.get("/healthz").status_code == 200
    page = held.rest.get("/monitoring/prometheus/metrics").text
    assert "nann_queue_depth 3.0" in page
    assert "nann_running 2.0" in page


def test_request_whose_deadline_passed_in_the_queue_is_not_run(
  held: Running, gate: Gate
) -> None:
  admission = held.server.admission
  futures = [held.prediction.Predict.future(REQUEST) for _ in range(2)]
  wait_until(lambda: admission.num_running == 2)
  code, _ = refused(lambda: held.prediction.Predict(REQUEST, timeout=0.05))
  assert code == Code.DEADLINE_EXCEEDED
  wait_until(lambda: admission.num_waiting == 0)
  gate.is_open.set()
  for future in futures:
    future.result(TIMEOUT_S)
  assert gate.num_runs == 2


def test_request_cancelled_in_the_queue_is_not_run(
  held: Running, gate: Gate
) -> None:
  with filled(held, gate) as futures:
    futures[-1].cancel()
    wait_until(lambda: held.server.admission.num_waiting == 2)
  for future in futures[:-1]:
    future.result(TIMEOUT_S)
  wait_until(lambda: held.server.admission.num_running == 0)
  assert gate.num_runs == 4


def test_deadline_ends_a_search_under_way(running: Running) -> None:
  length = np.int32((1 << 20) - 1)
  begin = time.monotonic()
  running.prediction.Predict(
    predict_request("walk", length=length), timeout=TIMEOUT_S
  )
  whole_s = time.monotonic() - begin
  begin = time.monotonic()
  request = predict_request("walk", length=length)
  code, _ = refused(lambda: running.prediction.Predict(request, timeout=0.02))
  assert code == Code.DEADLINE_EXCEEDED
  wait_until(lambda: running.server.admission.num_running == 0)
  assert time.monotonic() - begin < whole_s / 2


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_leaving_ends_a_search_under_way(
  running: Running, protocol: str
) -> None:
  admission = running.server.admission
  length = (1 << 20) - 1
  begin = time.monotonic()
  running.predict("walk", length=np.int32(length))
  whole_s = time.monotonic() - begin

  def is_running() -> bool:
    return admission.num_running == 1

  begin = time.monotonic()
  if protocol == "grpc":
    request = predict_request("walk", length=np.int32(length))
    future = running.prediction.Predict.future(request)
    wait_until(is_running)
    future.cancel()
  else:
    content = {"signature_name": "walk", "inputs": {"length": length}}
    body = json.dumps(content).encode()
    address = ("127.0.0.1", running.server.rest_port)
    with socket.create_connection(address) as connection:
      connection.sendall(
        b"POST /v1/models/nann:predict HTTP/1.1\r\nHost: x\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body) + body
      )
      wait_until(is_running)
  wait_until(lambda: admission.num_running == 0)
  assert time.monotonic() - begin < whole_s / 2


def test_shutdown_lets_requests_end_and_takes_no_more(
  exported: pathlib.Path, gate: Gate
) -> None:
  with running_server(
    exported, load=gate.load, concurrency=2, max_queue=3
  ) as running:
    with filled(running, gate) as accepted:
      stopping = threading.Thread(target=running.server.stop)
      stopping.start()
      wait_until(lambda: not running.server.admission.is_open)
      response = running.rest.post("/v1/models/nann:predict", json=RETRIEVE)
      assert response.status_code == 503
      assert refused(lambda: running.prediction.Predict(REQUEST)) == (
        Code.UNAVAILABLE,
        "the server is shutting down",
      )
      assert running.rest.get("/healthz").status_code == 503
      assert stopping.is_alive()
    for future in accepted:
      assert values(future.result(TIMEOUT_S), "num_scored").tolist() == [300]
    stopping.join()
  assert running.server.versions.current is None
