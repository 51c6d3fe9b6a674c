"""A whole model as one GraphDef: exec.pb, exec.meta.pb and the arrays.

The graph holds no variable and no large constant. What is large lies in .npy
files, which the graph maps into memory from the folder that its string input
`assets_dir` names.
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError

from nann import ops, paths
from nann.delivery import arrays as array_files
from nann.delivery.signature import Input, Signature

ASSETS_INPUT = "assets_dir"
DEFAULT_ASSETS = "assets"
_METHOD = tf.saved_model.PREDICT_METHOD_NAME
# Ends the name of the node that holds the name of a file.
_FILE = "/file"
# Begins the names of our ops.
_OURS = "Nann>"
# Larger constants become files.
_MOST_BYTES = 1 << 17


@dataclasses.dataclass(frozen=True)
class ExecGraph:
  """A model as it is delivered.

  Attributes:
    graph_def: All signatures.
    meta: The signatures' inputs and outputs, and nothing else.
    arrays: What the graph reads, by name of the file.
  """

  graph_def: tf.compat.v1.GraphDef
  meta: tf.compat.v1.MetaGraphDef
  arrays: dict[str, tf.Tensor]


def build(
  signatures: Sequence[Signature], names: Mapping[str, tf.Tensor]
) -> ExecGraph:
  """Traces signatures into one graph.

  Args:
    signatures: Functions that read no variable.
    names: Names for the arrays among what they capture.

  Raises:
    ValueError: They read variables, or make large constants as they are traced.
  """
  concrete, outputs = _traced(signatures)
  graph_def = concrete.graph.as_graph_def()
  nodes = {node.name: node for node in graph_def.node}
  arrays = _Arrays(names)
  for value, placeholder in concrete.graph.captures:
    if value.dtype == tf.resource:
      raise ValueError(
        f"a signature reads the variable {placeholder.op.name}, which is not"
        " among the attributes of the scorer, its modules and Keras layers"
      )
    arrays.fill(nodes[placeholder.op.name], value)
  _check_constants(graph_def)
  defaults = _make_optional(signatures, nodes)
  graph_def.node.extend(arrays.nodes)
  graph_def.node.extend(defaults)
  return ExecGraph(
    graph_def, _meta(signatures, outputs, graph_def), arrays.found
  )


def load(
  graph_def: tf.compat.v1.GraphDef, assets: tf.Tensor | str | None = None
) -> tf.Graph:
  """Makes a graph to run.

  Args:
    graph_def: Of exec.pb.
    assets: Folder of the arrays; None leaves it to be fed.
  """
  graph = tf.Graph()
  with graph.as_default():
    input_map = {}
    if assets is not None:
      input_map[f"{ASSETS_INPUT}:0"] = tf.convert_to_tensor(assets)
    tf.graph_util.import_graph_def(graph_def, input_map=input_map, name="")
  return graph


def load_ops(graph_def: tf.compat.v1.GraphDef) -> None:
  """Loads our ops if a graph has any; a graph of stock ops needs none."""
  nodes = [*graph_def.node]
  for function in graph_def.library.function:
    nodes += function.node_def
  if any(node.op.startswith(_OURS) for node in nodes):
    ops.library()


def reads_arrays(graph_def: tf.compat.v1.GraphDef) -> bool:
  """Returns whether a graph is one of ours, with a folder of arrays."""
  return any(node.name == ASSETS_INPUT for node in graph_def.node)


def assets_of(graph_def: tf.compat.v1.GraphDef) -> list[str]:
  """Returns the names of the files that a graph reads, in order.

  Raises:
    ValueError: It is not one of ours.
  """
  if not reads_arrays(graph_def):
    raise ValueError(
      f"the graph has no input {ASSETS_INPUT}; take exec.pb, as build_opt_graph"
      " or --job-type export has written it"
    )
  found = {
    node.attr["value"].tensor.string_val[0].decode()
    for node in graph_def.node
    if node.name.endswith(_FILE)
  }
  return sorted(found)


def check_names(
  graph_def: tf.compat.v1.GraphDef, meta: tf.compat.v1.MetaGraphDef
) -> None:
  """Raises ValueError if signatures name what a graph does not have."""
  names = {node.name for node in graph_def.node}
  for name, signature in meta.signature_def.items():
    for info in [*signature.inputs.values(), *signature.outputs.values()]:
      if info.name.split(":")[0] not in names:
        raise ValueError(
          f"signature {name} names {info.name}, which the graph does not have;"
          " take graph and meta file of one export"
        )


def _traced(
  signatures: Sequence[Signature],
) -> tuple[Any, dict[str, list[str]]]:
  """Returns all signatures as one function, and their outputs' names."""
  outputs: dict[str, list[str]] = {}
  places = [
    (signature, name, _tensor_name(signature.name, name))
    for signature in signatures
    for name in signature.inputs
  ]
  specs = [
    tf.TensorSpec(
      signature.inputs[name].shape, signature.inputs[name].dtype, tensor_name
    )
    for signature, name, tensor_name in places
  ]

  def answer_all(*tensors: tf.Tensor) -> None:
    given: dict[str, dict[str, tf.Tensor]] = {s.name: {} for s in signatures}
    for (signature, name, _), tensor in zip(places, tensors, strict=True):
      given[signature.name][name] = tensor
    for signature in signatures:
      answers = signature.answer(**given[signature.name])
      outputs[signature.name] = list(answers)
      for name, tensor in answers.items():
        tf.identity(tensor, name=_output_name(signature.name, name))

  # Not tf.function, in which one signature would wait for another's search.
  return tf.compat.v1.wrap_function(answer_all, specs), outputs


def _tensor_name(signature: str, name: str) -> str:
  return f"{signature}_{name}"


def _output_name(signature: str, name: str) -> str:
  return f"{signature}_answers_{name}"


class _Arrays:
  """Turns placeholders of captured tensors into constants or mapped files."""

  def __init__(self, names: Mapping[str, tf.Tensor]) -> None:
    self._names = {id(tensor): name for name, tensor in names.items()}
    self.found: dict[str, tf.Tensor] = {}
    folder = tf.compat.v1.NodeDef(
      name=ASSETS_INPUT, op="PlaceholderWithDefault"
    )
    folder.input.append(f"{ASSETS_INPUT}/default")
    folder.attr["dtype"].type = tf.string.as_datatype_enum
    folder.attr["shape"].shape.SetInParent()
    self.nodes = [
      folder,
      _constant_node(f"{ASSETS_INPUT}/default", DEFAULT_ASSETS),
    ]

  def fill(self, node: tf.compat.v1.NodeDef, value: tf.Tensor) -> None:
    """Says what a placeholder stands for."""
    size_bytes = value.dtype.size * value.shape.num_elements()
    if size_bytes <= _MOST_BYTES:
      node.CopyFrom(_constant_node(node.name, value))
      return
    name = self._names.get(id(value), f"constant_{len(self.found)}")
    name = re.sub("[^A-Za-z0-9_]", "_", name)
    file = array_files.file_name(name, value)
    self.found[file] = value
    self.nodes += [
      _constant_node(f"{name}{_FILE}", file),
      _join_node(f"{name}/path", ASSETS_INPUT, f"{name}{_FILE}"),
    ]
    mapped = tf.compat.v1.NodeDef(name=node.name, op="Nann>MappedTensor")
    mapped.input.append(f"{name}/path")
    node.CopyFrom(mapped)
    node.attr["dtype"].type = value.dtype.as_datatype_enum
    node.attr["shape"].shape.CopyFrom(value.shape.as_proto())


def _constant_node(name: str, value: Any) -> tf.compat.v1.NodeDef:
  if isinstance(value, tf.Tensor):
    value = value.numpy()
  proto = tf.make_tensor_proto(value)
  node = tf.compat.v1.NodeDef(name=name, op="Const")
  node.attr["dtype"].type = proto.dtype
  node.attr["value"].tensor.CopyFrom(proto)
  return node


def _join_node(name: str, folder: str, file: str) -> tf.compat.v1.NodeDef:
  node = tf.compat.v1.NodeDef(name=name, op="StringJoin", input=[folder, file])
  node.attr["N"].i = 2
  node.attr["separator"].s = b"/"
  return node


def _make_optional(
  signatures: Sequence[Signature], nodes: Mapping[str, Any]
) -> list[tf.compat.v1.NodeDef]:
  """Gives inputs their defaults; returns the nodes that this takes."""
  made = []
  for signature in signatures:
    for name, spec in signature.inputs.items():
      node = nodes[_tensor_name(signature.name, name)]
      del node.attr["_user_specified_name"]
      if spec.default is not None:
        node.op = "PlaceholderWithDefault"
        node.input.append(f"{node.name}/default")
        made.append(_constant_node(f"{node.name}/default", _default(spec)))
  return made


def _default(spec: Input) -> np.ndarray:
  return np.asarray(spec.default, spec.dtype.as_numpy_dtype)


def _check_constants(graph_def: tf.compat.v1.GraphDef) -> None:
  """Refuses constants that were made large by the trace itself."""
  bodies = [graph_def.node]
  bodies += [function.node_def for function in graph_def.library.function]
  for body in bodies:
    for node in body:
      size_bytes = node.ByteSize()
      if node.op == "Const" and size_bytes > 2 * _MOST_BYTES:
        raise ValueError(
          f"{node.name} is a constant of {size_bytes:,} bytes that is made"
          " inside the scorer's functions; make it once, in __init__"
        )


def _meta(
  signatures: Sequence[Signature],
  output_names: Mapping[str, Sequence[str]],
  graph_def: tf.compat.v1.GraphDef,
) -> tf.compat.v1.MetaGraphDef:
  """Describes the signatures."""
  graph = load(graph_def)
  meta = tf.compat.v1.MetaGraphDef()

  def describe(name: str, info: Any) -> None:
    tensor = graph.get_tensor_by_name(f"{name}:0")
    info.name = tensor.name
    info.dtype = tensor.dtype.as_datatype_enum
    info.tensor_shape.CopyFrom(tensor.shape.as_proto())

  for signature in signatures:
    described = meta.signature_def[signature.name]
    described.method_name = _METHOD
    for name, spec in signature.inputs.items():
      tensor_name = _tensor_name(signature.name, name)
      describe(tensor_name, described.inputs[name])
      if spec.default is not None:
        proto = tf.make_tensor_proto(_default(spec))
        described.defaults[name].CopyFrom(proto)
    for name in output_names[signature.name]:
      tensor_name = _output_name(signature.name, name)
      describe(tensor_name, described.outputs[name])
  return meta


def write(exported: ExecGraph, files: paths.ExportPaths) -> None:
  """Writes exec.pb and exec.meta.pb, each also as text."""
  for message, path in (
    (exported.graph_def, files.exec_graph),
    (exported.meta, files.exec_meta),
  ):
    path.write_bytes(message.SerializeToString(deterministic=True))
    path.with_suffix(".pbtxt").write_text(text_format.MessageToString(message))


def read_graph(path: pathlib.Path) -> tf.compat.v1.GraphDef:
  """Reads exec.pb."""
  return _read(path, tf.compat.v1.GraphDef)


def read_meta(path: pathlib.Path) -> tf.compat.v1.MetaGraphDef:
  """Reads exec.meta.pb."""
  return _read(path, tf.compat.v1.MetaGraphDef)


def _read(path: pathlib.Path, kind: Any) -> Any:
  if not path.exists():
    raise FileNotFoundError(f"{path} is missing; run --job-type export")
  try:
    return kind.FromString(path.read_bytes())
  except DecodeError as error:
    raise ValueError(
      f"{path} is damaged or no {kind.__name__}; run --job-type export again"
    ) from error
