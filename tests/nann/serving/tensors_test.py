"""Tensors of the protocol: all types, both ways, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from nann.serving import tensors
from nann.serving.errors import ServingError

DTYPES = (
  *(np.float32, np.float64, np.float16, tf.bfloat16.as_numpy_dtype),
  *(np.int8, np.int16, np.int32, np.int64, np.bool_),
  *(np.uint8, np.uint16, np.uint32, np.uint64),
)


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_survive_both_ways(dtype: type) -> None:
  array = np.array([[0, 1, 3], [1, 0, 100]]).astype(dtype)
  # As clients write it: raw bytes. As we do: typed values.
  for message in (tf.make_tensor_proto(array), tensors.to_proto(array)):
    found = tensors.to_array("x", message)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
  np.testing.assert_array_equal(tf.make_ndarray(tensors.to_proto(array)), array)


def test_extremes_survive() -> None:
  for array in (
    np.array([np.nan, np.inf, -np.inf, -0.0], np.float16),
    np.array([-(2**63), 2**63 - 1]),
    np.array([b"\x00\xff", b""], object),
    np.zeros((3, 0), np.int64),
    np.array(7, np.int32),
  ):
    found = tensors.to_array("x", tensors.to_proto(array))
    np.testing.assert_array_equal(found, array)
    assert found.shape == array.shape


def message(
  dtype: int, *shape: int, **fields: object
) -> tensor_pb2.TensorProto:
  made = tensor_pb2.TensorProto(dtype=dtype, **fields)
  for size in shape:
    made.tensor_shape.dim.add(size=size)
  return made


def test_last_value_stands_for_those_left_out() -> None:
  """As TensorFlow reads it."""
  made = message(types_pb2.DT_INT64, 2, 2, int64_val=[5, 6])
  assert tensors.to_array("x", made).tolist() == [[5, 6], [6, 6]]
  assert tensors.to_array("x", message(types_pb2.DT_FLOAT, 2)).tolist() == [
    0,
    0,
  ]


@pytest.mark.parametrize(
  ("made", "reason"),
  [
    (message(types_pb2.DT_RESOURCE, 1), "of resource, which cannot be sent"),
    (message(99, 1), "of type 99, which cannot be sent"),
    (message(types_pb2.DT_FLOAT, 2**40), "wanted at most"),
    (message(types_pb2.DT_FLOAT, 2**13, 2**13), "67,108,864 elements"),
    (message(types_pb2.DT_FLOAT, 0, 2**62, 2**62), "wanted at most"),
    (message(types_pb2.DT_FLOAT, -1), "has shape [-1], wanted"),
    (message(types_pb2.DT_FLOAT, *[1] * 9), "wanted at most 8 sizes"),
    (
      message(types_pb2.DT_FLOAT, 2, tensor_content=b"1234567"),
      "7 bytes of content, wanted 8 for 2 elements",
    ),
    (message(types_pb2.DT_STRING, 1, tensor_content=b"x"), "send it in"),
    (
      message(types_pb2.DT_FLOAT, 1, float_val=[1.0, 2.0]),
      "has 2 values, wanted 1",
    ),
    (message(types_pb2.DT_INT8, 1, int_val=[1000]), "a value that is no int8"),
    (message(types_pb2.DT_HALF, 1, half_val=[-1]), "a value that is no half"),
  ],
)
def test_what_is_no_tensor_is_refused(
  made: tensor_pb2.TensorProto, reason: str
) -> None:
  with pytest.raises(ServingError) as caught:
    tensors.to_array("x", made)
  assert reason in caught.value.message
