"""Servers on free ports, in this process, over small exported versions."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
  model_service_pb2_grpc,
  predict_pb2,
  prediction_service_pb2_grpc,
)

from nann.serving import front
from nann.serving.server import Server
from nann.serving.versions import Load, load_and_warm_up
from nann.serving_settings import ServeSettings
from tests.nann.serving import small_export

NAME = "nann"
# Long enough that only a failure meets it.
TIMEOUT_S = 60.0


@dataclasses.dataclass(frozen=True)
class Running:
  """A server and what talks to it."""

  server: Server
  base_path: pathlib.Path
  channel: grpc.Channel
  rest: httpx.Client

  @property
  def prediction(self) -> Any:
    return prediction_service_pb2_grpc.PredictionServiceStub(self.channel)

  @property
  def models(self) -> Any:
    return model_service_pb2_grpc.ModelServiceStub(self.channel)

  def predict(
    self, signature: str = "retrieve", **inputs: Any
  ) -> predict_pb2.PredictResponse:
    request = predict_request(signature, **inputs)
    return self.prediction.Predict(request, timeout=TIMEOUT_S)


def predict_request(
  signature: str, **inputs: Any
) -> predict_pb2.PredictRequest:
  request = predict_pb2.PredictRequest()
  request.model_spec.name = NAME
  request.model_spec.signature_name = signature
  for name, value in inputs.items():
    request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
  return request


def values(response: predict_pb2.PredictResponse, name: str) -> np.ndarray:
  return tf.make_ndarray(response.outputs[name])


@contextlib.contextmanager
def running_server(
  base_path: pathlib.Path, load: Load = load_and_warm_up, **settings: Any
) -> Iterator[Running]:
  """Runs a server; nothing is loaded unless a test calls `refresh`."""
  defaults = {"port": 0, "rest_port": 0, "poll_interval_s": 3600.0}
  server = Server(base_path, ServeSettings(**(defaults | settings)), load)
  server.start()
  address = f"127.0.0.1:{server.port}"
  url = f"http://127.0.0.1:{server.rest_port}"
  try:
    with (
      grpc.insecure_channel(address) as channel,
      httpx.Client(base_url=url, timeout=TIMEOUT_S) as rest,
    ):
      yield Running(server, base_path, channel, rest)
  finally:
    server.stop()


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """A base path with version 7."""
  base_path = tmp_path_factory.mktemp("export") / NAME
  small_export.publish(base_path, 7)
  return base_path


FRONTS = (
  "python",
  pytest.param(
    "native",
    marks=pytest.mark.skipif(
      not front.is_built(), reason="nann._front wants gRPC's C++ library"
    ),
  ),
)


@pytest.fixture(scope="package", params=FRONTS)
def front_kind(request: pytest.FixtureRequest) -> str:
  """What speaks gRPC; tests run with each."""
  return request.param


@pytest.fixture(scope="package")
def running(exported: pathlib.Path, front_kind: str) -> Iterator[Running]:
  """A server of version 7 for tests that leave it as it is."""
  with running_server(exported, front=front_kind) as found:
    yield found


def refused(function: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
  """Returns code and message of a call that must fail."""
  with pytest.raises(grpc.RpcError) as caught:
    function()
  error: Any = caught.value
  assert "Traceback" not in error.details()
  return error.code(), error.details()
