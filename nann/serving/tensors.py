"""Tensors of the protocol to arrays and back, with every size checked.

tf.make_ndarray would trust the sender: a shape of 2^60 elements beside a single
value is an allocation. Answers carry typed values, not raw bytes, as TensorFlow
Serving's do: clients read `int64_val`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from nann.serving.compiled import ArrayParts
from nann.serving.errors import invalid

# Elements of one tensor.
MAX_ELEMENTS = 1 << 24
_MAX_RANK = 8

_FIELDS = {
  types_pb2.DT_FLOAT: "float_val",
  types_pb2.DT_DOUBLE: "double_val",
  types_pb2.DT_INT32: "int_val",
  types_pb2.DT_INT16: "int_val",
  types_pb2.DT_INT8: "int_val",
  types_pb2.DT_UINT8: "int_val",
  types_pb2.DT_UINT16: "int_val",
  types_pb2.DT_UINT32: "uint32_val",
  types_pb2.DT_INT64: "int64_val",
  types_pb2.DT_UINT64: "uint64_val",
  types_pb2.DT_BOOL: "bool_val",
  types_pb2.DT_HALF: "half_val",
  types_pb2.DT_BFLOAT16: "half_val",
  types_pb2.DT_STRING: "string_val",
}
_DTYPES = {
  number: np.dtype(tf.as_dtype(number).as_numpy_dtype) for number in _FIELDS
}
# A half is sent as the integer of its bits.
_AS_BITS = {types_pb2.DT_HALF, types_pb2.DT_BFLOAT16}
# Sent in fields that hold more than they do.
_NARROW = {
  *_AS_BITS,
  *(types_pb2.DT_INT8, types_pb2.DT_INT16),
  *(types_pb2.DT_UINT8, types_pb2.DT_UINT16),
}


def dtype_name(number: int) -> str:
  """Returns the name of a type of the protocol, for messages."""
  if number not in types_pb2.DataType.values():
    return f"type {number}"
  return types_pb2.DataType.Name(number).removeprefix("DT_").lower()


def to_array(name: str, tensor: tensor_pb2.TensorProto) -> np.ndarray:
  """Reads a tensor that a client sent.

  Args:
    name: Of the input, for messages.
    tensor: The message.

  Raises:
    ServingError: It is not a whole tensor of a type that can be sent.
  """
  dtype = _DTYPES.get(tensor.dtype)
  if dtype is None:
    raise invalid(
      f"input {name!r} is of {dtype_name(tensor.dtype)}, which cannot be sent"
    )
  shape = _shape(name, tensor)
  # Sizes beside a 0 count as well: NumPy multiplies them.
  number = math.prod(shape)
  if math.prod(size for size in shape if size) > MAX_ELEMENTS:
    raise invalid(
      f"input {name!r} has {number:,} elements, wanted at most {MAX_ELEMENTS:,}"
    )
  if tensor.tensor_content:
    values = _from_content(name, tensor.tensor_content, tensor.dtype, number)
  else:
    values = _from_values(name, tensor, number)
  return values.reshape(shape)


def _shape(name: str, tensor: tensor_pb2.TensorProto) -> list[int]:
  shape = [dimension.size for dimension in tensor.tensor_shape.dim]
  is_known = not tensor.tensor_shape.unknown_rank
  if (
    not is_known
    or len(shape) > _MAX_RANK
    or not all(0 <= size <= MAX_ELEMENTS for size in shape)
  ):
    raise invalid(
      f"input {name!r} has shape {shape if is_known else 'unknown'}, wanted at"
      f" most {_MAX_RANK} sizes from 0 to {MAX_ELEMENTS:,}"
    )
  return shape


def _from_content(
  name: str, content: bytes, number_of_type: int, number: int
) -> np.ndarray:
  dtype = _DTYPES[number_of_type]
  if number_of_type == types_pb2.DT_STRING:
    raise invalid(f"input {name!r} is text; send it in string_val")
  if len(content) != number * dtype.itemsize:
    raise invalid(
      f"input {name!r} has {len(content):,} bytes of content, wanted"
      f" {number * dtype.itemsize:,} for {number:,} elements"
    )
  return np.frombuffer(content, dtype)


def _from_values(
  name: str, tensor: tensor_pb2.TensorProto, number: int
) -> np.ndarray:
  """Reads typed values; the last one stands for those left out, or else 0."""
  dtype = _DTYPES[tensor.dtype]
  values: Any = getattr(tensor, _FIELDS[tensor.dtype])
  if len(values) > number:
    raise invalid(
      f"input {name!r} has {len(values):,} values, wanted {number:,}"
    )
  if tensor.dtype == types_pb2.DT_STRING:
    array = np.empty(number, object)
    array[:] = b""
  else:
    array = np.zeros(number, dtype)
  if not values:
    return array
  if tensor.dtype == types_pb2.DT_STRING:
    given = np.empty(len(values), object)
    given[:] = values
  elif tensor.dtype in _NARROW:
    given = _narrowed(name, tensor.dtype, np.array(values, np.int64))
  else:
    given = np.array(values, dtype)
  array[: len(given)] = given
  array[len(given) :] = given[-1]
  return array


def _narrowed(name: str, number_of_type: int, wide: np.ndarray) -> np.ndarray:
  """Casts integers to the type that they were sent in a wider field for."""
  dtype = _DTYPES[number_of_type]
  bits = np.dtype(np.uint16) if number_of_type in _AS_BITS else dtype
  bounds = np.iinfo(bits)
  if (wide < bounds.min).any() or (wide > bounds.max).any():
    raise invalid(
      f"input {name!r} holds a value that is no {dtype_name(number_of_type)}"
    )
  return wide.astype(bits).view(dtype)


def to_proto(array: np.ndarray) -> tensor_pb2.TensorProto:
  """Returns an output as a message."""
  array = np.asarray(array)
  number = tf.as_dtype(array.dtype).as_datatype_enum
  tensor = tensor_pb2.TensorProto(dtype=number)
  for size in array.shape:
    tensor.tensor_shape.dim.add(size=size)
  values = array.reshape(-1)
  if number in _AS_BITS:
    values = values.view(np.uint16)
  getattr(tensor, _FIELDS[number]).extend(values.tolist())
  return tensor


def to_parts(array: np.ndarray) -> ArrayParts:
  """Returns an array as the compiled model takes it."""
  number = tf.as_dtype(array.dtype).as_datatype_enum
  if number == types_pb2.DT_STRING:
    return number, array.shape, array.reshape(-1).tolist()
  return number, array.shape, array.tobytes()


def from_parts(
  number: int, shape: Sequence[int], values: bytes | Sequence[bytes]
) -> np.ndarray:
  """Returns an output of the compiled model as an array, not to be written."""
  if isinstance(values, bytes):
    return np.frombuffer(values, _DTYPES[number]).reshape(shape)
  array = np.empty(len(values), object)
  array[:] = values
  return array.reshape(shape)
