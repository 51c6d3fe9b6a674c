"""A whole model as one GraphDef: exec.pb, exec.meta.pb and the arrays.

The graph holds no variable and no large constant. What is large lies in .npy
files, which the graph maps into memory from the folder that its string input
`assets_dir` names.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError

from nann import ops, paths
from nann.delivery.array_nodes import (
  ASSETS_INPUT,
  MOST_CONSTANT_BYTES,
  READ_ARRAYS,
  MappedArrays,
  VariableArrays,
  constant,
)
from nann.delivery.signature import Input, Signature

_ARRAYS = {"nann": MappedArrays, "stock": VariableArrays}
_METHOD = tf.saved_model.PREDICT_METHOD_NAME
# Ends the name of the node that holds the name of a file.
_FILE = "/file"
# Begins the names of our ops.
_OURS = "Nann>"


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
  signatures: Sequence[Signature],
  names: Mapping[str, tf.Tensor],
  export_ops: str = "nann",
) -> ExecGraph:
  """Traces signatures into one graph.

  Args:
    signatures: Functions that read no variable.
    names: Names for the arrays among what they capture.
    export_ops: nann, or stock: arrays are read without our ops.

  Raises:
    ValueError: They read variables, or make large constants as they are traced.
  """
  concrete, outputs = _traced(signatures)
  graph_def = concrete.graph.as_graph_def()
  nodes = {node.name: node for node in graph_def.node}
  arrays = _ARRAYS[export_ops](names)
  for value, placeholder in concrete.graph.captures:
    if value.dtype == tf.resource:
      raise ValueError(
        f"a signature reads the variable {placeholder.op.name}, which is not"
        " among the attributes of the scorer, its modules and Keras layers"
      )
    arrays.fill(nodes[placeholder.op.name], value)
  arrays.finish()
  _check_constants(graph_def)
  defaults = _make_optional(signatures, nodes)
  graph_def.node.extend(arrays.nodes)
  graph_def.node.extend(defaults)
  return ExecGraph(
    graph_def, _meta(signatures, outputs, graph_def), arrays.files
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


def open_session(
  graph_def: tf.compat.v1.GraphDef,
  assets: str | None,
  config: tf.compat.v1.ConfigProto | None = None,
) -> Any:
  """Returns a session over exec.pb, ready to answer, its ops loaded.

  Args:
    graph_def: Of exec.pb.
    assets: Folder of the arrays; None for a graph without any.
    config: Of the session.
  """
  load_ops(graph_def)
  graph = load(graph_def, assets)
  session = tf.compat.v1.Session(graph=graph, config=config)
  if has_variables(graph_def):
    session.run(graph.get_operation_by_name(READ_ARRAYS))
  return session


def has_variables(graph_def: tf.compat.v1.GraphDef) -> bool:
  """Returns whether READ_ARRAYS must be run first."""
  return any(node.name == READ_ARRAYS for node in graph_def.node)


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
        made.append(constant(f"{node.name}/default", _default(spec)))
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
      if node.op == "Const" and size_bytes > 2 * MOST_CONSTANT_BYTES:
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
