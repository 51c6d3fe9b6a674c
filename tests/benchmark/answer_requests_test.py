"""A model in TensorFlow's C++ runtime, with requests from a file."""

import pathlib
import subprocess
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from nann import ops
from tests.native_programs import objects_of_ops, program
from tests.ops.tf import small_model

SOURCES = [
  "benchmark/answer_requests.cc",
  "benchmark/recorded_requests.cc",
  "ops/serving/served_model.cc",
]
DTYPES = {"float": np.float32, "int32": np.int32, "int64": np.int64}

Tensors = Mapping[str, np.ndarray]

pytestmark = pytest.mark.slow


def record(
  path: pathlib.Path, requests: Sequence[tuple[str, Tensors]]
) -> pathlib.Path:
  """Writes requests (signature, inputs) as TensorFlow Serving takes them."""
  with tf.io.TFRecordWriter(str(path)) as writer:
    for signature, inputs in requests:
      request = predict_pb2.PredictRequest()
      request.model_spec.name = "nann"
      request.model_spec.signature_name = signature
      request.model_spec.version.value = 3
      for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
      log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
      )
      writer.write(log.SerializeToString())
  return path


def run(
  *arguments: object, linked: Sequence[str] = ()
) -> subprocess.CompletedProcess:
  """Runs the program, by default without our ops in it."""
  name = "answer_requests_linked" if linked else "answer_requests"
  return subprocess.run(
    [program(name, SOURCES, linked), *map(str, arguments)],
    capture_output=True,
    text=True,
    check=False,
  )


def answers(
  *arguments: object, linked: Sequence[str] = ()
) -> list[dict[str, np.ndarray]]:
  """Runs the program; returns what it answers to each request."""
  done = run(*arguments, linked=linked)
  assert done.returncode == 0, done.stderr
  found: list[dict[str, np.ndarray]] = []
  for line in done.stdout.splitlines():
    request, name, dtype, shape, *values = line.split(" ")
    if int(request) == len(found):
      found.append({})
    if dtype == "string":
      array = np.array([bytes.fromhex(value) for value in values], object)
    else:
      array = np.array(values, float).astype(DTYPES[dtype])
    found[-1][name] = array.reshape([int(size) for size in shape.split(",")])
  return found


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """A small model; the files that it was made of are gone."""
  folder = tmp_path_factory.mktemp("small")
  model = small_model.SmallModel(folder)
  small_model.save(model, folder / "saved")
  for name in model.files:
    (folder / f"{name}.npy").unlink()
  return folder / "saved"


def queries(number: int) -> dict[str, np.ndarray]:
  users, entries = small_model.queries()
  return {"users": users[:number], "entries": entries[:number]}


OPS = f"--ops={ops.LIBRARY_PATH}"


def test_answers_are_those_of_python(
  saved: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  requests = record(
    tmp_path / "requests",
    [("serving_default", queries(5)), ("", queries(1))],
  )
  found = answers(OPS, saved, requests)
  wanted = small_model.load_and_search(str(saved))
  assert len(found) == 2
  for name in ("rows", "scores", "num_scored"):
    np.testing.assert_array_equal(found[0][name], wanted[name])
    np.testing.assert_array_equal(found[1][name], wanted[name][:1])


def test_ops_may_be_linked_into_the_program(
  saved: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  # As TensorFlow Serving's ModelServer has them.
  requests = record(tmp_path / "requests", [("", queries(5))])
  (found,) = answers(saved, requests, linked=objects_of_ops())
  wanted = small_model.load_and_search(str(saved))
  for name in ("rows", "scores", "num_scored"):
    np.testing.assert_array_equal(found[name], wanted[name])


@pytest.mark.parametrize(
  ("signature", "change", "message"),
  [
    ("no_such", {}, "'no_such' is not among serving_default"),
    ("", {"users": None}, "input users of serving_default is missing"),
    ("", {"more": np.zeros(1)}, "serving_default has no input more"),
    ("", {"users": np.zeros((1, 16))}, "users of serving_default is of type"),
    ("", {"users": np.zeros((1, 3), np.float32)}, ""),
  ],
)
def test_wrong_requests_are_explained(
  saved: pathlib.Path,
  tmp_path: pathlib.Path,
  signature: str,
  change: dict,
  message: str,
) -> None:
  inputs = {
    name: value
    for name, value in (queries(1) | change).items()
    if value is not None
  }
  done = run(OPS, saved, record(tmp_path / "requests", [(signature, inputs)]))
  assert done.returncode == 1
  assert message in done.stderr


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "holds no requests"),
    (b"\x00" * 40, "cannot be read"),
    (b"damaged", "cannot be read"),
  ],
)
def test_damaged_files_are_refused(
  saved: pathlib.Path, tmp_path: pathlib.Path, content: bytes, message: str
) -> None:
  path = tmp_path / "requests"
  path.write_bytes(content)
  done = run(OPS, saved, path)
  assert done.returncode == 1
  assert message in done.stderr


def test_truncated_file_is_refused(
  saved: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  path = record(tmp_path / "requests", [("", queries(1))] * 2)
  content = path.read_bytes()
  for size in (len(content) - 1, len(content) // 2 + 3):
    path.write_bytes(content[:size])
    done = run(OPS, saved, path)
    assert done.returncode == 1
    assert "record 1, cannot be read" in done.stderr


def test_other_logs_are_refused(
  saved: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  path = tmp_path / "requests"
  with tf.io.TFRecordWriter(str(path)) as writer:
    log = prediction_log_pb2.PredictionLog(
      classify_log=prediction_log_pb2.ClassifyLog()
    )
    for content in (log.SerializeToString(), b"\xff\xff\xff"):
      writer.write(content)
  done = run(OPS, saved, path)
  assert done.returncode == 1
  assert "record 0, is no PredictionLog" in done.stderr


def test_model_without_the_op_library_is_refused(
  saved: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  requests = record(tmp_path / "requests", [("", queries(1))])
  done = run(saved, requests)
  assert done.returncode == 1
  assert "Nann>" in done.stderr
  done = run("--ops=no_such.so", saved, requests)
  assert "the op library no_such.so cannot be loaded" in done.stderr
