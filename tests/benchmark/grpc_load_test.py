"""A server under load by the same recorded requests."""

import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tests import native_programs
from tests.benchmark.answer_requests_test import record
from tests.conftest import ROOT, run_python
from tests.nann.delivery import models
from tests.nann.delivery.models import Exported, histories, to_raw
from tests.nann.serving.conftest import Running, running_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
  model = Exported(tmp_path_factory.mktemp("export"), models.serving())
  with running_server(model.target.versions, access_log=False) as found:
    yield found


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  users = to_raw(histories(3))
  good = [("retrieve", {"history_item_ids": user[None]}) for user in users]
  bad = [("no_such", {"history_item_ids": users})]
  return record(tmp_path_factory.mktemp("requests") / "requests", good + bad)


def load(running: Running, *arguments: object) -> tuple[int, dict, str]:
  path = pathlib.Path(str(arguments[0])).with_suffix(".json")
  done = run_python(
    "benchmark/grpc_load.py",
    f"--grpc=127.0.0.1:{running.server.port}",
    f"--json={path}",
    *map(str, arguments),
    PYTHONPATH=str(ROOT),
  )
  figures = json.loads(path.read_text())["figures"] if path.exists() else {}
  return done.returncode, figures, done.stdout + done.stderr


def test_closed_and_open_loop(running: Running, requests: pathlib.Path) -> None:
  short = (requests, "--signature-key=retrieve", "--warm-up=0.2")
  status, figures, text = load(running, *short, "--duration=0.5")
  assert status == 0, text
  assert figures["answers"] > 10
  assert 0 < figures["p50_ms"] <= figures["p99_ms"] <= figures["max_ms"]
  status, figures, text = load(running, *short, "--duration=2", "--qps=30")
  assert status == 0, text
  assert 30 < figures["answers"] < 90


def test_errors_are_told(running: Running, requests: pathlib.Path) -> None:
  status, figures, _ = load(running, requests, "--warm-up=0", "--duration=0.5")
  assert status == 1
  assert figures["errors"] > 0
  assert figures["answers"] > 0
  assert figures["first_error"] in ("NOT_FOUND", "INVALID_ARGUMENT")


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("--qps=0", "--qps is 0, wanted a number above 0, or -1"),
    ("--signature-key=none", "holds no such request"),
  ],
)
def test_wrong_flags_are_named(
  running: Running, requests: pathlib.Path, argument: str, message: str
) -> None:
  status, _, text = load(running, requests, argument)
  assert status == 2
  assert message in text


def test_both_generators_send_and_tell(
  running: Running, requests: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  record = next(iter(tf.data.TFRecordDataset(str(requests)))).numpy()
  log = prediction_log_pb2.PredictionLog.FromString(record)
  request = log.predict_log.request
  request.model_spec.name = "nann"
  request.model_spec.ClearField("version_choice")
  file = tmp_path / "request"
  file.write_bytes(request.SerializeToString())
  target = f"127.0.0.1:{running.server.port}"
  compiled = native_programs.cmake_target("grpc_generator")
  for command in (
    [str(compiled)],
    [sys.executable, "benchmark/serving_generator.py"],
  ):
    for rate, at_least, at_most in (("50", 100, 100), ("-2", 20, 10**6)):
      done = subprocess.run(
        [*command, target, str(file), rate, "2", "1"],
        cwd=ROOT,
        capture_output=True,
        check=True,
      )
      load = json.loads(done.stdout)
      number = len(load["codes"])
      assert at_least <= number <= at_most
      assert set(load["codes"]) == {"OK"}
      assert len(load["moments_s"]) == len(load["latencies_ms"]) == number
      assert min(load["latencies_ms"]) > 0
      assert 1.0 < max(load["moments_s"]) < 5.0
      assert 0 < load["processor_s"] < load["seconds"] * 2
