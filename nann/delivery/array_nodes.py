"""How the arrays of a model get into its graph: as nodes that read files.

Small ones become constants. Large ones lie in .npy files: our op maps them into
memory; without it, TensorFlow's own ops read them once into variables.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nann.delivery import arrays

# The string input that names the folder of the files.
ASSETS_INPUT = "assets_dir"
DEFAULT_ASSETS = "assets"
# What must be run once where arrays are variables.
READ_ARRAYS = "read_arrays"
# Larger arrays become files.
MOST_CONSTANT_BYTES = 1 << 17


class MappedArrays:
  """Turns placeholders of tensors into what reads them.

  Attributes:
    files: The tensors that are read from files, by name of the file.
    nodes: The nodes that this takes beside the placeholders.
  """

  def __init__(self, names: Mapping[str, tf.Tensor]) -> None:
    """Takes names for tensors; the others are numbered."""
    self._names = {id(tensor): name for name, tensor in names.items()}
    self._used: set[str] = set()
    self.files: dict[str, tf.Tensor] = {}
    folder = node_def(ASSETS_INPUT, "PlaceholderWithDefault", [])
    folder.input.append(f"{ASSETS_INPUT}/default")
    folder.attr["dtype"].type = tf.string.as_datatype_enum
    folder.attr["shape"].shape.SetInParent()
    self.nodes = [
      folder,
      constant(f"{ASSETS_INPUT}/default", DEFAULT_ASSETS),
    ]

  def fill(self, node: tf.compat.v1.NodeDef, value: tf.Tensor) -> None:
    """Says what a placeholder stands for."""
    size_bytes = value.dtype.size * value.shape.num_elements()
    if size_bytes <= MOST_CONSTANT_BYTES:
      node.CopyFrom(constant(node.name, value))
      return
    name = self._name(value)
    file = arrays.file_name(name, value)
    self.files[file] = value
    path = node_def(
      f"{name}/path", "StringJoin", [ASSETS_INPUT, f"{name}/file"]
    )
    path.attr["N"].i = 2
    path.attr["separator"].s = b"/"
    self.nodes += [constant(f"{name}/file", file), path]
    node.CopyFrom(self._reader(node.name, name, file, value))

  def finish(self) -> None:
    """Makes what all arrays share."""

  def _reader(
    self, node_name: str, name: str, file: str, value: tf.Tensor
  ) -> tf.compat.v1.NodeDef:
    """Returns the node whose output is the array."""
    del file
    reader = node_def(node_name, "Nann>MappedTensor", [f"{name}/path"])
    reader.attr["dtype"].type = value.dtype.as_datatype_enum
    reader.attr["shape"].shape.CopyFrom(value.shape.as_proto())
    return reader

  def _name(self, value: tf.Tensor) -> str:
    known = self._names.get(id(value), "constant")
    first = name = re.sub("[^A-Za-z0-9_]", "_", known)
    number = 1
    while name in self._used:
      number += 1
      name = f"{first}_{number}"
    self._used.add(name)
    return name


class VariableArrays(MappedArrays):
  """The same with TensorFlow's own ops; READ_ARRAYS reads the files."""

  def __init__(self, names: Mapping[str, tf.Tensor]) -> None:
    super().__init__(names)
    self._assignments: list[str] = []

  def finish(self) -> None:
    self.nodes.append(node_def(READ_ARRAYS, "NoOp", self._assignments))

  def _reader(
    self, node_name: str, name: str, file: str, value: tf.Tensor
  ) -> tf.compat.v1.NodeDef:
    variable, assignment = f"{name}/variable", f"{name}/assign"
    dtype = value.dtype.as_datatype_enum
    handle = node_def(variable, "VarHandleOp", [])
    handle.attr["shared_name"].s = file.encode()
    handle.attr["shape"].shape.CopyFrom(value.shape.as_proto())
    assign = node_def(
      assignment, "AssignVariableOp", [variable, f"{name}/array"]
    )
    reader = node_def(node_name, "ReadVariableOp", [variable])
    for node in (handle, assign, reader):
      node.attr["dtype"].type = dtype
    self.nodes += [handle, assign, *_decoded(name, value)]
    self._assignments.append(f"^{assignment}")
    return reader


def _decoded(name: str, value: tf.Tensor) -> list[tf.compat.v1.NodeDef]:
  """Returns what makes NAME/array of the file NAME/path."""
  # The header is a multiple of 64 bytes, so of any element.
  begin = _header_bytes(value.numpy()) // value.dtype.size
  content = node_def(f"{name}/bytes", "ReadFile", [f"{name}/path"])
  elements = node_def(f"{name}/elements", "DecodeRaw", [f"{name}/bytes"])
  elements.attr["out_type"].type = value.dtype.as_datatype_enum
  elements.attr["little_endian"].b = True
  inputs = [f"{name}/{part}" for part in ("elements", "begin", "size")]
  data = node_def(f"{name}/data", "Slice", inputs)
  data.attr["T"].type = value.dtype.as_datatype_enum
  data.attr["Index"].type = tf.int64.as_datatype_enum
  array = node_def(
    f"{name}/array", "Reshape", [f"{name}/data", f"{name}/shape"]
  )
  array.attr["T"].type = value.dtype.as_datatype_enum
  array.attr["Tshape"].type = tf.int64.as_datatype_enum
  return [
    content,
    elements,
    constant(f"{name}/begin", np.array([begin], np.int64)),
    constant(f"{name}/size", np.array([-1], np.int64)),
    data,
    constant(f"{name}/shape", np.array(value.shape.as_list(), np.int64)),
    array,
  ]


def _header_bytes(array: np.ndarray) -> int:
  """Returns where the data of an .npy file begins."""
  header = io.BytesIO()
  described = np.lib.format.header_data_from_array_1_0(array)
  np.lib.format.write_array_header_1_0(header, described)
  return len(header.getvalue())


def node_def(name: str, op: str, inputs: Sequence[str]) -> tf.compat.v1.NodeDef:
  """Makes a node without attributes."""
  return tf.compat.v1.NodeDef(name=name, op=op, input=inputs)


def constant(name: str, value: Any) -> tf.compat.v1.NodeDef:
  """Makes a constant."""
  if isinstance(value, tf.Tensor):
    value = value.numpy()
  proto = tf.make_tensor_proto(value)
  node = node_def(name, "Const", [])
  node.attr["dtype"].type = proto.dtype
  node.attr["value"].tensor.CopyFrom(proto)
  return node
