"""A signature of a served model: what it takes, what it gives.

Checks the inputs of a request, so that what reaches the graph fits it.
"""

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_shape_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from nann.serving.errors import invalid

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Limits:
  """What one request may ask for.

  Attributes:
    max_users: B, the users of a request.
    max_answers: B * k, or the pairs to score.
  """

  max_users: int
  max_answers: int


@dataclasses.dataclass(frozen=True)
class TensorInfo:
  """One input or output.

  Attributes:
    name: As clients call it.
    tensor: As the graph calls it.
    dtype: Of the array; object for text.
    shape: None for a size that is free; None in place of all: any shape.
    default: Taken if a client leaves the input out; None: it may not.
  """

  name: str
  tensor: str
  dtype: np.dtype
  shape: tuple[int | None, ...] | None
  default: np.ndarray | None = None

  @property
  def is_batched(self) -> bool:
    """Whether the first size is the number of users."""
    return self.shape is not None and len(self.shape) == 2


@dataclasses.dataclass(frozen=True)
class Signature:
  """A way to call the model.

  Attributes:
    name: As clients call it.
    inputs: By name, in a fixed order.
    outputs: Likewise.
  """

  name: str
  inputs: Mapping[str, TensorInfo]
  outputs: Mapping[str, TensorInfo]

  def feeds(self, arrays: Arrays, limits: Limits) -> list[np.ndarray]:
    """Returns an array for each input, in their order.

    Args:
      arrays: What the client sent.
      limits: What it may ask for.

    Raises:
      ServingError: They are not what the signature takes.
    """
    for name in arrays:
      if name not in self.inputs:
        raise invalid(
          f"signature {self.name!r} has no input {name[:80]!r}, wanted"
          f" {_listed(self.inputs)}"
        )
    found = []
    for name, info in self.inputs.items():
      array = arrays.get(name)
      if array is not None:
        _check(info, array)
      elif info.default is not None:
        array = info.default
      else:
        raise invalid(
          f"signature {self.name!r} needs input {name!r}, got {_listed(arrays)}"
        )
      found.append(array)
    _check_size(self._check_users(arrays), arrays, limits)
    return found

  def _check_users(self, arrays: Arrays) -> int:
    """Returns B, the same in all inputs of the client."""
    batched = [
      name
      for name, info in self.inputs.items()
      if info.is_batched and name in arrays
    ]
    if not batched:
      return 1
    first, *others = batched
    num_users = len(arrays[first])
    for name in others:
      if len(arrays[name]) != num_users:
        raise invalid(
          f"input {name!r} is for {len(arrays[name])} users, {first!r} for"
          f" {num_users}"
        )
    return num_users

  def chosen_outputs(self, names: Collection[str]) -> list[str]:
    """Returns the outputs that a client wants; none named: all.

    Raises:
      ServingError: There is no such output.
    """
    for name in names:
      if name not in self.outputs:
        raise invalid(
          f"signature {self.name!r} has no output {name[:80]!r}, wanted"
          f" {_listed(self.outputs)}"
        )
    return [name for name in self.outputs if not names or name in names]


def _listed(names: Collection[str]) -> str:
  shown = [name[:80] for name in names][:20]
  return ", ".join(shown) or "nothing"


def _check(info: TensorInfo, array: np.ndarray) -> None:
  if array.dtype != info.dtype:
    raise invalid(
      f"input {info.name!r} is of type {_type_name(array.dtype)}, wanted"
      f" {_type_name(info.dtype)}"
    )
  if info.shape is None:
    return
  fits = len(array.shape) == len(info.shape) and all(
    wanted is None or size == wanted
    for size, wanted in zip(array.shape, info.shape, strict=True)
  )
  if not fits:
    wanted = ", ".join("?" if x is None else str(x) for x in info.shape)
    raise invalid(
      f"input {info.name!r} has shape {list(array.shape)}, wanted [{wanted}]"
    )


def _type_name(dtype: np.dtype) -> str:
  return tf.as_dtype(dtype).name


def _check_size(num_users: int, arrays: Arrays, limits: Limits) -> None:
  """Refuses what would take more memory than a server has for one request."""
  if num_users > limits.max_users:
    raise invalid(
      f"the request is for {num_users:,} users, wanted at most"
      f" {limits.max_users:,}; send several requests"
    )
  # In level_topn it comes last.
  given = arrays.get("level_topn", arrays.get("k"))
  if given is None or not given.size:
    pairs = math.prod(arrays["item_ids"].shape) if "item_ids" in arrays else 0
  else:
    k = int(given.reshape(-1)[-1])
    if k < 1:
      raise invalid(f"k is {k}, wanted at least 1")
    pairs = num_users * k
  if pairs > limits.max_answers:
    raise invalid(
      f"the request is for {pairs:,} answers, wanted at most"
      f" {limits.max_answers:,}; ask for fewer users or a smaller k"
    )


def from_proto(name: str, definition: meta_graph_pb2.SignatureDef) -> Signature:
  """Reads a signature of a SavedModel.

  Raises:
    ValueError: It has an input that cannot be sent.
  """
  inputs = {}
  for key in sorted(definition.inputs):
    info = definition.inputs[key]
    default = None
    if key in definition.defaults:
      default = tf.make_ndarray(definition.defaults[key])
    inputs[key] = _tensor_info(key, info, default)
  outputs = {
    key: _tensor_info(key, definition.outputs[key])
    for key in sorted(definition.outputs)
  }
  return Signature(name, inputs, outputs)


def _tensor_info(
  name: str, info: meta_graph_pb2.TensorInfo, default: Any = None
) -> TensorInfo:
  if not info.name:
    raise ValueError(f"{name!r} of a signature is no plain tensor")
  dtype = np.dtype(tf.as_dtype(info.dtype).as_numpy_dtype)
  return TensorInfo(name, info.name, dtype, _shape(info.tensor_shape), default)


def _shape(
  shape: tensor_shape_pb2.TensorShapeProto,
) -> tuple[int | None, ...] | None:
  if shape.unknown_rank:
    return None
  return tuple(None if x.size < 0 else int(x.size) for x in shape.dim)
