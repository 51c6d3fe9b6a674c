"""Nann>MappedTensor: what NumPy wrote is what the op gives, without a copy."""

import gc
import os
import pathlib
import struct
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from nann import ops
from tests.conftest import run_python

DTYPES = [
  np.float32,
  np.float16,
  ml_dtypes.bfloat16,
  np.float64,
  np.int8,
  np.uint8,
  np.int16,
  np.uint16,
  np.int32,
  np.uint32,
  np.int64,
  np.uint64,
  np.bool_,
]


def write(
  path: pathlib.Path, array: Any, version: tuple[int, int] | None = None
) -> str:
  with path.open("wb") as file:
    np.lib.format.write_array(file, np.asarray(array), version)
  return str(path)


def is_mapped(path: str | pathlib.Path) -> bool:
  return str(path) in pathlib.Path("/proc/self/maps").read_text()


@pytest.mark.parametrize("shape", [(7, 3), (1,), (), (0, 3), (2, 3, 4, 5)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_file_is_the_tensor(
  tmp_path: pathlib.Path, dtype: type, shape: tuple[int, ...]
) -> None:
  array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
  path = write(tmp_path / "array.npy", array)
  tensor = ops.mapped_tensor(path, tf.as_dtype(dtype))
  assert tensor.shape == shape
  np.testing.assert_array_equal(tensor.numpy(), array)


@pytest.mark.filterwarnings("ignore:Stored array in format")
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_is_read(
  tmp_path: pathlib.Path, version: tuple[int, int]
) -> None:
  array = np.arange(100)
  path = write(tmp_path / "array.npy", array, version)
  np.testing.assert_array_equal(ops.mapped_tensor(path, tf.int64), array)


def test_bfloat16_may_be_stored_as_integers(tmp_path: pathlib.Path) -> None:
  array = np.arange(5).astype(ml_dtypes.bfloat16)
  path = write(tmp_path / "array.npy", array.view(np.uint16))
  np.testing.assert_array_equal(ops.mapped_tensor(path, tf.bfloat16), array)


def test_tensor_lies_in_the_file(tmp_path: pathlib.Path) -> None:
  path = write(tmp_path / "array.npy", np.arange(10_000, dtype=np.float32))
  tensor = ops.mapped_tensor(path, tf.float32)
  address = np.asarray(memoryview(tensor)).ctypes.data
  assert address % 64 == 0
  for line in pathlib.Path("/proc/self/maps").read_text().splitlines():
    begin, end = (int(place, 16) for place in line.split()[0].split("-"))
    if begin <= address < end:
      assert line.endswith(path)
      assert line.split()[1] == "r--s"
      return
  raise AssertionError(f"{address:#x} is not mapped")


def test_ops_that_write_in_place_write_elsewhere(
  tmp_path: pathlib.Path,
) -> None:
  array = np.arange(100, dtype=np.float32)
  path = write(tmp_path / "array.npy", array)

  @tf.function
  def negative() -> tf.Tensor:
    # Without another use of the tensor its memory could be taken over.
    return -ops.mapped_tensor(path, tf.float32)

  np.testing.assert_array_equal(negative(), -array)
  variable = tf.Variable(tf.zeros([100]))
  variable.assign(ops.mapped_tensor(path, tf.float32))
  variable.assign_add(tf.ones([100]))
  variable.scatter_nd_update([[0]], [5.0])
  np.testing.assert_array_equal(np.load(path), array)


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
  """Returns a file with any header, padded as NumPy pads."""
  size = "<H" if version == 1 else "<I"
  fixed = 8 + struct.calcsize(size)
  text = header.encode()
  text += b" " * (-(fixed + len(text) + 1) % 64) + b"\n"
  prefix = b"\x93NUMPY" + bytes([version, 0]) + struct.pack(size, len(text))
  return prefix + text + data


def header(descr: str, shape: str, order: str = "False") -> str:
  return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


GOOD = npy(header("'<f4'", "(3,)"), bytes(12))

REFUSED = {
  "empty file": (b"", "is empty or no file"),
  "short magic": (GOOD[:5], "it is no .npy file"),
  "foreign file": (b"PK\x03\x04" + bytes(100), "it is no .npy file"),
  "ends in the length": (GOOD[:9], "it ends inside its header"),
  "ends in the header": (GOOD[:40], "it ends inside its header"),
  "ends in the data": (GOOD[:-1], "it holds 11 bytes of elements, its header"),
  "longer than it says": (GOOD + b"x", "it holds 13 bytes of elements"),
  "version 4": (npy("", version=4), "its version is 4, wanted 1 to 3"),
  "no dictionary": (npy("[1, 2]"), "its header is not a dictionary"),
  "no shape": (npy("{'descr': '<f4'}"), "its header is not a dictionary"),
  "Fortran order": (
    npy(header("'<f4'", "(3, 2)", "True"), bytes(24)),
    "it is in Fortran order, wanted C order",
  ),
  "big-endian": (
    npy(header("'>f4'", "(3,)"), bytes(12)),
    "its elements are big-endian ('>f4'), wanted '<'",
  ),
  "objects": (npy(header("'|O'", "(3,)")), "its elements are '|O', wanted"),
  "text": (npy(header("'<U3'", "(3,)")), "its elements are '<U3', wanted"),
  "structures": (
    npy(header("[('a', '<f4')]", "(3,)")),
    "its elements are structures, wanted numbers",
  ),
  "other type": (
    npy(header("'<f8'", "(3,)"), bytes(24)),
    "its elements are '<f8', wanted float",
  ),
  "same size, other kind": (
    npy(header("'<i4'", "(3,)"), bytes(12)),
    "its elements are '<i4', wanted float",
  ),
  "negative length": (npy(header("'<f4'", "(-1,)")), "not a dictionary"),
  "larger than any file": (
    npy(header("'<f4'", "(9999999999, 9999999999)")),
    "its shape is larger than any file",
  ),
  "other rank": (
    npy(header("'<f4'", "(3, 1)"), bytes(12)),
    "its shape is [3,1], wanted [3]",
  ),
  "other length": (
    npy(header("'<f4'", "(4,)"), bytes(16)),
    "its shape is [4], wanted [3]",
  ),
}


@pytest.mark.parametrize(
  ("content", "message"), REFUSED.values(), ids=REFUSED.keys()
)
def test_refuses(tmp_path: pathlib.Path, content: bytes, message: str) -> None:
  path = tmp_path / "array.npy"
  path.write_bytes(content)
  with pytest.raises(tf.errors.InvalidArgumentError) as raised:
    ops.mapped_tensor(str(path), tf.float32, [3])
  assert f"{path}" in str(raised.value)
  assert message in str(raised.value)
  assert not is_mapped(path)
  # The same kernel reads the file once it is good.
  path.write_bytes(GOOD)
  good = ops.mapped_tensor(str(path), tf.float32, [3])
  assert good.numpy().tolist() == [0, 0, 0]


def test_refuses_data_that_is_not_aligned(tmp_path: pathlib.Path) -> None:
  text = header("'<f4'", "(3,)").ljust(69).encode() + b"\n"  # To byte 80.
  path = tmp_path / "array.npy"
  path.write_bytes(
    b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(12)
  )
  assert np.load(path).tolist() == [0, 0, 0]
  with pytest.raises(
    tf.errors.InvalidArgumentError,
    match="begins at byte 80, wanted a multiple of 64; save it anew with",
  ):
    ops.mapped_tensor(str(path), tf.float32)


def test_refuses_what_is_no_file(tmp_path: pathlib.Path) -> None:
  with pytest.raises(tf.errors.NotFoundError, match="No such file"):
    ops.mapped_tensor(str(tmp_path / "missing.npy"), tf.float32)
  with pytest.raises(tf.errors.InvalidArgumentError, match="or no file"):
    ops.mapped_tensor(str(tmp_path), tf.float32)
  # A pipe that nobody writes to does not hang.
  os.mkfifo(tmp_path / "pipe")
  with pytest.raises(tf.errors.InvalidArgumentError, match="or no file"):
    ops.mapped_tensor(str(tmp_path / "pipe"), tf.float32)


def test_refuses_several_paths(tmp_path: pathlib.Path) -> None:
  path = write(tmp_path / "array.npy", np.zeros(3, np.float32))
  with pytest.raises(
    tf.errors.InvalidArgumentError, match=r"path has shape \[1\], wanted a scal"
  ):
    ops.mapped_tensor([path], tf.float32)


def test_shape_is_known_before_the_file_is_read() -> None:
  with tf.Graph().as_default():
    tensor = ops.mapped_tensor("x.npy", tf.int32, [None, 3])
    assert tensor.shape.as_list() == [None, 3]
    assert ops.mapped_tensor("x.npy", tf.int32).shape.rank is None


def test_closed_session_releases_the_file(tmp_path: pathlib.Path) -> None:
  path = write(tmp_path / "array.npy", np.arange(3))
  with tf.Graph().as_default():
    total = tf.reduce_sum(ops.mapped_tensor(path, tf.int64))
    with tf.compat.v1.Session() as session:
      assert session.run(total) == 3
      # The next request reads the same memory.
      assert is_mapped(path)
      assert session.run(total) == 3
  assert not is_mapped(path)


def test_deleted_function_releases_the_file(tmp_path: pathlib.Path) -> None:
  path = write(tmp_path / "array.npy", np.arange(3))
  total = tf.function(lambda: tf.reduce_sum(ops.mapped_tensor(path, tf.int64)))
  assert total() == 3
  assert is_mapped(path)
  del total
  gc.collect()
  assert not is_mapped(path)


def test_replaced_file_leaves_the_tensor_as_it_was(
  tmp_path: pathlib.Path,
) -> None:
  path = write(tmp_path / "array.npy", np.arange(3))
  tensor = ops.mapped_tensor(path, tf.int64)
  write(tmp_path / "next.npy", np.zeros(5))
  os.replace(tmp_path / "next.npy", path)
  assert tensor.numpy().tolist() == [0, 1, 2]


MEMORY = """
import resource, sys
import tensorflow as tf
from nann import ops
def resident():
  with open("/proc/self/status") as file:
    return int(next(l for l in file if "RssAnon" in l).split()[1]) >> 10
ops.mapped_tensor(sys.argv[1], tf.float32)[0].numpy()
before = resident()
@tf.function
def total():
  tensor = ops.mapped_tensor(sys.argv[1], tf.float32)
  return tf.gather(tensor, tf.range(0, tf.shape(tensor)[0], 1000))
total()
print(resident() - before)
"""


@pytest.mark.slow
def test_large_file_takes_no_memory_of_the_process(
  tmp_path: pathlib.Path,
) -> None:
  megabytes = 200
  path = write(tmp_path / "a.npy", np.zeros(megabytes << 18, np.float32))
  done = run_python("-c", MEMORY, path)
  assert done.returncode == 0, done.stderr
  assert int(done.stdout) < megabytes / 4
