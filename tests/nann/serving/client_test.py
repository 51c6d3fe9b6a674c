"""The client: typed answers, retries, deadline; the documented smoke test."""

import concurrent.futures
import re
from collections.abc import Iterator, Sequence

import grpc
import numpy as np
import pytest

from nann.serving.client import Client
from nann.serving.errors import Code, ServingError
from tests.conftest import run_python
from tests.nann.serving import small_export
from tests.nann.serving.conftest import TIMEOUT_S, Running


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
  target = f"127.0.0.1:{running.server.port}"
  with Client(target, timeout_s=TIMEOUT_S) as client:
    yield client


def test_retrieve_returns_arrays(client: Client) -> None:
  histories = np.array([[7, 9], [3, 999]], np.int64)
  found = client.retrieve(
    histories, k=3, allowed_items=np.array([[2, 4, 6]] * 2)
  )
  assert found.item_ids.tolist() == [[6, 4, 2], [6, 4, 2]]
  assert found.scores.dtype == np.float32
  assert found.num_scored.tolist() == [small_export.NUM_ITEMS] * 2
  assert found.num_unknown.tolist() == [0, 1]
  assert found.version == 7


def test_score_and_top_k_return_arrays(client: Client) -> None:
  scores = client.score(small_export.history(9), small_export.history(9, 12))
  assert scores.tolist() == [[7.0, 4.0]]
  zeros = np.zeros((2, small_export.WIDTH))
  assert client.top_k(zeros, np.array([10, 2])).tolist() == [[1, 2]] * 2


def test_text_is_sent_as_utf8(client: Client) -> None:
  found = client.predict("echo", {"texts": np.array([["é", "ab"]])})
  assert found.outputs["texts"].tolist() == [["é".encode(), b"ab"]]


def test_versions_are_told(client: Client) -> None:
  assert client.versions() == {7: "AVAILABLE"}


def test_version_may_be_named(client: Client) -> None:
  inputs = {"history_item_ids": small_export.history(9)}
  assert client.predict("retrieve", inputs, version=7).version == 7
  with pytest.raises(ServingError, match="version 8 is not loaded") as caught:
    client.predict("retrieve", inputs, version=8)
  assert caught.value.code == Code.NOT_FOUND


class Moody(grpc.GenericRpcHandler):
  """Fails with each of some codes, then answers."""

  def __init__(self, codes: Sequence[grpc.StatusCode]) -> None:
    self.codes = list(codes)
    self.num_calls = 0

  def service(self, details: object) -> grpc.RpcMethodHandler:
    def answer(raw: bytes, context: grpc.ServicerContext) -> bytes:
      self.num_calls += 1
      if self.codes:
        context.abort(self.codes.pop(0), "not now")
      return b""

    return grpc.unary_unary_rpc_method_handler(answer)


def ask(moody: Moody, timeout_s: float = TIMEOUT_S, attempts: int = 4) -> None:
  server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
  server.add_generic_rpc_handlers((moody,))
  port = server.add_insecure_port("127.0.0.1:0")
  server.start()
  try:
    target = f"127.0.0.1:{port}"
    with Client(target, timeout_s=timeout_s, max_attempts=attempts) as client:
      client.versions()
  finally:
    server.stop(None).wait()


def test_busy_or_absent_server_is_asked_again() -> None:
  moody = Moody([Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED])
  ask(moody)
  assert moody.num_calls == 3


def test_attempts_are_bounded() -> None:
  moody = Moody([Code.UNAVAILABLE] * 9)
  with pytest.raises(ServingError, match="not now") as caught:
    ask(moody, attempts=2)
  assert caught.value.code == Code.UNAVAILABLE
  assert moody.num_calls == 2


def test_wrong_request_is_not_repeated() -> None:
  moody = Moody([Code.INVALID_ARGUMENT])
  with pytest.raises(ServingError):
    ask(moody)
  assert moody.num_calls == 1


def test_retries_end_at_the_deadline() -> None:
  moody = Moody([Code.UNAVAILABLE] * 999)
  with pytest.raises(ServingError) as caught:
    ask(moody, timeout_s=0.1, attempts=999)
  assert caught.value.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED)
  assert moody.num_calls < 20


@pytest.mark.slow
def test_documented_smoke_test_prints_top_k(running: Running) -> None:
  done = run_python(
    "examples/serving_client.py", f"127.0.0.1:{running.server.port}"
  )
  assert done.returncode == 0, done.stderr
  item_ids = [int(x) for x in re.findall(r"\d+", done.stdout)]
  assert item_ids == list(range(1, 201))
