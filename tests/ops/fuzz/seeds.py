"""The inputs that fuzzing begins with: right ones, and known kinds of wrong."""

import io
import pathlib

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2


def write(target: str, folder: pathlib.Path) -> None:
  """Writes the seeds of a fuzz target as files of a folder."""
  folder.mkdir(parents=True, exist_ok=True)
  of = {"npy": npy_seeds, "graph": graph_seeds, "request": request_seeds}
  seeds = of[target]()
  for number, seed in enumerate(seeds):
    (folder / f"seed_{number:03}").write_bytes(seed)


def request_seeds() -> list[bytes]:
  """Returns requests as clients send them."""
  request = predict_pb2.PredictRequest()
  request.model_spec.name = "nann"
  request.model_spec.version.value = 7
  request.output_filter.append("scores")
  seeds = [request.SerializeToString()]
  for dtype in (np.float16, np.float32, np.int32, np.int64):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    request.inputs[f"x{len(seeds)}"].CopyFrom(tf.make_tensor_proto(array))
    seeds.append(request.SerializeToString())
  request.model_spec.version_label = "stable"
  for tensor in request.inputs.values():
    tensor.tensor_content = b""
    tensor.int64_val.extend([-1, 2**62])
  return [*seeds, request.SerializeToString()]


def npy_seeds() -> list[bytes]:
  arrays = [
    np.zeros((3, 2), np.float32),
    np.zeros((2, 3, 4), np.float16),
    np.array(5, np.int64),
    np.zeros((0, 7), np.uint8),
    np.asfortranarray(np.zeros((3, 2), np.float32)),
    np.zeros(3, ">f8"),
    np.array([None, 1], object),
    np.zeros(2, "U3"),
    np.zeros(2, [("a", "<f4"), ("b", "<i8")]),
    np.zeros(4, bool),
    np.zeros(2, "V2"),
  ]
  seeds = []
  for version in [(1, 0), (2, 0), (3, 0)]:
    for array in arrays:
      file = io.BytesIO()
      np.lib.format.write_array(file, array, version, allow_pickle=True)
      seeds.append(file.getvalue())
  whole = seeds[0]
  seeds += [whole[:size] for size in [0, 5, 6, 7, 8, 9, 10, 60, 127, 128, 140]]
  seeds += [whole.replace(b"(3, 2)", shape) for shape in SHAPES]
  seeds.append(whole.replace(b"\x93NUMPY\x01", b"\x93NUMPY\x09"))
  return seeds


# What a shape may look like, some larger than any file.
SHAPES = [
  b"()",
  b"(,)",
  b"(3,2",
  b"(-1, 2)",
  b"(9223372036854775807,)",
  b"(9223372036854775808,)",
  b"(4294967296, 4294967296)",
  b"(0, 4294967296, 4294967296)",
]


def graph_seeds() -> list[bytes]:
  """Random bytes: every input is a graph to that target."""
  rng = np.random.default_rng(1)
  sizes = [0, 1, 8, 20, 64, 200, 200, 500, 500, 2000]
  seeds = [rng.bytes(size) for size in sizes for _ in range(3)]
  # Small values: mostly graphs without a fault.
  return seeds + [
    rng.integers(0, limit, size).astype(np.uint8).tobytes()
    for size in sizes
    for limit in [2, 5, 20]
  ]
