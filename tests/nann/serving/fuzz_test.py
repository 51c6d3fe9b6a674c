"""Malformed requests of every kind: a proper status each, the server lives."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2

from tests.nann.serving import small_export
from tests.nann.serving.conftest import (
  TIMEOUT_S,
  Running,
  predict_request,
  values,
)

Code = grpc.StatusCode
PREDICT = "/tensorflow.serving.PredictionService/Predict"
PROPER = {
  Code.OK,
  Code.INVALID_ARGUMENT,
  Code.NOT_FOUND,
  Code.RESOURCE_EXHAUSTED,
}
SIGNATURES = ("retrieve", "score", "serving_default", "echo", "", "\x00", "no")
NAMES = ("history_item_ids", "k", "item_ids", "allowed_items", "comm_seq", "?")
NUMBERS = (0, 1, -1, 7, 2**31 - 1, 2**31, -(2**63), 2**63 - 1)
JSON_VALUES: tuple[Any, ...] = (
  *(None, True, "x", "", 1.5, -1, 2**70, 1e400, {}, {"b64": "?"}, {"b64": 1}),
  *([], [[]], [[[]]], [[1], [1, 2]], [[1, None]], [["a", 1]], [[2**63]]),
)
DTYPES = (*(np.int64, np.int32, np.float16, np.float32, np.float64, np.bool_),)

Make = Callable[[np.random.Generator], bytes]


def valid(rng: np.random.Generator) -> predict_pb2.PredictRequest:
  history = rng.integers(-2, 400, (rng.integers(1, 4), rng.integers(1, 60)))
  return predict_request("retrieve", history_item_ids=history)


def flipped(rng: np.random.Generator) -> bytes:
  raw = bytearray(valid(rng).SerializeToString())
  for _ in range(rng.integers(1, 9)):
    raw[rng.integers(len(raw))] = rng.integers(256)
  return bytes(raw)


def cut(rng: np.random.Generator) -> bytes:
  raw = valid(rng).SerializeToString()
  return raw[: rng.integers(len(raw))]


def noise(rng: np.random.Generator) -> bytes:
  return rng.bytes(int(rng.integers(300)))


def wrong_arrays(rng: np.random.Generator) -> bytes:
  inputs = {}
  for name in rng.choice(NAMES, rng.integers(0, 4)):
    shape = rng.integers(0, 5, rng.integers(0, 5))
    array = rng.choice(NUMBERS, shape).astype(np.float64)
    array = np.where(rng.random(shape) < 0.2, np.nan, array)
    with np.errstate(all="ignore"):
      inputs[name] = array.astype(DTYPES[rng.integers(len(DTYPES))])
  signature = SIGNATURES[rng.integers(len(SIGNATURES))]
  return predict_request(signature, **inputs).SerializeToString()


def wrong_tensor(rng: np.random.Generator) -> bytes:
  """Messages that no library would write: sizes and contents at odds."""
  request = valid(rng)
  tensor = request.inputs[NAMES[rng.integers(len(NAMES))]]
  tensor.dtype = int(rng.choice([*types_pb2.DataType.values(), 77]))
  del tensor.tensor_shape.dim[:]
  for _ in range(rng.integers(0, 4)):
    tensor.tensor_shape.dim.add(size=int(rng.choice(NUMBERS)))
  tensor.tensor_shape.unknown_rank = bool(rng.random() < 0.1)
  if rng.random() < 0.5:
    tensor.tensor_content = rng.bytes(int(rng.integers(40)))
  tensor.int64_val.extend(rng.choice(NUMBERS, 3).tolist())
  tensor.half_val.extend([2**30, -1])
  tensor.string_val.append(b"\xff")
  return request.SerializeToString()


def wrong_spec(rng: np.random.Generator) -> bytes:
  request = valid(rng)
  choice = rng.integers(4)
  if choice == 0:
    request.model_spec.version.value = int(rng.choice(NUMBERS))
  elif choice == 1:
    request.model_spec.version_label = "x" * int(rng.integers(5000))
  elif choice == 2:
    request.model_spec.name = "é" * int(rng.integers(2000))
  else:
    request.output_filter.append("\n" * int(rng.integers(3)))
  return request.SerializeToString()


KINDS: tuple[Make, ...] = (
  *(flipped, cut, noise, wrong_arrays, wrong_tensor, wrong_spec),
)


def wrong_json(rng: np.random.Generator) -> bytes:
  def value() -> Any:
    return JSON_VALUES[rng.integers(len(JSON_VALUES))]

  content: dict[str, Any] = {
    "signature_name": SIGNATURES[rng.integers(len(SIGNATURES))]
  }
  inputs = {name: value() for name in rng.choice(NAMES, rng.integers(0, 4))}
  key = "inputs" if rng.random() < 0.5 else "instances"
  content[key] = [inputs] * int(rng.integers(3)) if key[2] == "s" else inputs
  if rng.random() < 0.2:
    content[key] = value()
  raw = json.dumps(content).encode()
  return raw[: rng.integers(len(raw))] if rng.random() < 0.2 else raw


def send_malformed(running: Running, number: int, seed: int) -> None:
  """Sends malformed requests, one in six over REST; checks each status."""
  rng = np.random.default_rng(seed)
  call = running.channel.unary_unary(PREDICT)
  for _ in range(number):
    if rng.random() < 1 / 6:
      body = wrong_json(rng)
      response = running.rest.post("/v1/models/nann:predict", content=body)
      assert response.status_code in (200, 400, 404, 429), body
      continue
    raw = KINDS[rng.integers(len(KINDS))](rng)
    code, message = Code.OK, ""
    try:
      call(raw, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
      code, message = error.code(), error.details()
    assert code in PROPER, (code, message, raw)
    assert code == Code.OK or 5 < len(message) < 2000, message
    assert "Traceback" not in message


def answers_still(running: Running) -> None:
  response = running.predict(history_item_ids=small_export.history(9))
  expected = small_export.expected(9, version=7)
  assert values(response, "item_ids").tolist() == [expected.item_ids]


def test_malformed_requests_get_a_proper_status(running: Running) -> None:
  send_malformed(running, 300, seed=0)
  answers_still(running)


def resident_bytes() -> int:
  status = pathlib.Path("/proc/self/status").read_text()
  line = next(x for x in status.splitlines() if x.startswith("VmRSS"))
  return int(line.split()[1]) << 10


def leave_memory_flat(running: Running) -> None:
  """Sends 10,000 malformed requests, after some that fill pools."""
  send_malformed(running, 2000, seed=1)
  before = resident_bytes()
  send_malformed(running, 10_000, seed=2)
  assert resident_bytes() <= 1.05 * before


@pytest.mark.soak
def test_ten_thousand_malformed_requests_leave_memory_flat(
  running: Running,
) -> None:
  leave_memory_flat(running)
  answers_still(running)
