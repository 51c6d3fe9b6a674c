"""Tensors that lie where an array or a file lies."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from nann import files, memory
from nann.in_place import in_place


def address(tensor: tf.Tensor) -> int:
  return np.asarray(memoryview(tensor)).ctypes.data


def test_tensor_lies_where_the_array_lies() -> None:
  array = memory.aligned((30, 4), np.float32)
  array[:] = np.arange(120).reshape(30, 4)
  tensor = in_place(array)
  assert address(tensor) == array.ctypes.data
  np.testing.assert_array_equal(tensor.numpy(), array)


def test_mapped_file_stays_mapped(tmp_path: pathlib.Path) -> None:
  path = tmp_path / "a.npy"
  np.save(path, np.arange(1000, dtype=np.int64))
  array = files.load_array(path, "build_index", "c")
  tensor = in_place(array)
  assert address(tensor) == array.ctypes.data
  del array  # The tensor keeps the map.
  assert tensor.numpy().sum() == 499_500


def test_array_that_begins_within_a_line_is_copied() -> None:
  array = memory.aligned((1, 40), np.float32)[0, 4:]
  array[:] = np.arange(36)
  tensor = in_place(array)
  assert address(tensor) % memory.LINE_BYTES == 0
  np.testing.assert_array_equal(tensor.numpy(), array)


@pytest.mark.parametrize("size", [0, 5, 1_000_000])
def test_array_that_may_not_be_written_is_copied(size: int) -> None:
  array = np.arange(size, dtype=np.int32)
  array.flags.writeable = False
  assert in_place(array).numpy().tolist() == list(range(size))
