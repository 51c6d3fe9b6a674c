"""Makes the parts of the user, the item and the pair of a colored graph."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from nann.retrieval.split_boundary import (
  Boundary,
  find_boundary,
  inputs_of,
  needs_shape_only,
)
from nann.retrieval.split_graph import Color, ColoredGraph
from nann.retrieval.split_simplify import needed_operations

# A [1, *] input beside an [n, *] input gives [n, *].
_BROADCASTING = (
  *("Add", "AddV2", "Sub", "Mul", "RealDiv", "DivNoNan", "MulNoNan"),
  *("Maximum", "Minimum", "Pow", "FloorMod", "SquaredDifference"),
  *("Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual"),
  *("LogicalAnd", "LogicalOr", "SelectV2", "BatchMatMulV2", "BatchMatMulV3"),
)


class Part:
  """A graph as a function of flat tensors.

  Attributes:
    definition: The graph.
    operations: What it copies of the whole, without what moves data for it.
  """

  def __init__(
    self,
    graph: tf.Graph,
    inputs: Sequence[tf.Tensor],
    outputs: Sequence[tf.Tensor],
    operations: Sequence[tf.Operation],
    tables: Mapping[str, np.ndarray],
  ) -> None:
    self.definition = graph.as_graph_def()
    self.operations = list(operations)
    self._inputs = [tensor.name for tensor in inputs]
    self._outputs = [tensor.name for tensor in outputs]
    self._shapes = [tensor.shape for tensor in outputs]
    self._tables = {name: tf.constant(x) for name, x in tables.items()}
    self._eager = tf.function(
      self._embed, autograph=False, reduce_retracing=True
    )

  def __call__(self, *tensors: tf.Tensor) -> tuple[tf.Tensor, ...]:
    return (
      self._eager(*tensors) if tf.executing_eagerly() else self._embed(*tensors)
    )

  def num_operations(self) -> int:
    """Returns the number of ops that run, constants left out."""
    return sum(
      node.op not in ("Const", "Placeholder") for node in self.definition.node
    )

  def _embed(self, *tensors: tf.Tensor) -> tuple[tf.Tensor, ...]:
    # Not a call of a function: inside the search a call costs as much as an op.
    input_map = dict(zip(self._inputs, tensors, strict=True))
    for name, table in self._tables.items():
      input_map[name] = tf.identity(table)
    outputs = tf.graph_util.import_graph_def(
      self.definition,
      input_map=input_map,
      return_elements=self._outputs,
      name="part",
    )
    for output, shape in zip(outputs, self._shapes, strict=True):
      output.set_shape(shape)
    return tuple(outputs)


class Parts(NamedTuple):
  """The three parts.

  Attributes:
    user: Feature tensors [B, *] -> states [B, *].
    item: Feature tensors [I, *] -> states [I, *].
    pair: User states [1, *], item states [n, *] -> scores [n] or [n, 1].
    user_features: What `user` takes, in order.
    item_features: What `item` takes, in order.
    item_bytes: Size of all states of one item.
  """

  user: Part
  item: Part
  pair: Part
  user_features: list[str]
  item_features: list[str]
  item_bytes: int


def cut(graph: ColoredGraph) -> Parts:
  """Cuts a graph whose output depends on both user and item."""
  boundary = find_boundary(graph)
  of_user = [x for x in boundary.states if graph[x].color == Color.USER]
  of_item = [x for x in boundary.states if graph[x].color == Color.ITEM]
  user, user_features = _side(graph, Color.USER, of_user, boundary.shaped)
  item, item_features = _side(graph, Color.ITEM, of_item, [])
  return Parts(
    user=user,
    item=item,
    pair=_pair(graph, boundary, of_user, of_item),
    user_features=user_features,
    item_features=item_features,
    item_bytes=sum(graph[tensor].size_bytes(tensor) for tensor in of_item),
  )


def _side(
  graph: ColoredGraph,
  color: Color,
  states: Sequence[tf.Tensor],
  shaped: Sequence[tf.Tensor],
) -> tuple[Part, list[str]]:
  """Returns the part of one side, and the features it takes."""
  operations = needed_operations(
    graph.operations,
    [*states, *shaped],
    lambda operation: inputs_of(graph, operation),
  )
  features = [x for x in graph.inputs if graph.colors[x] == color]
  made: dict[str, tf.Tensor] = {}
  target = tf.Graph()
  with target.as_default():
    for name in features:
      source = graph.inputs[name]
      made[source.name] = tf.compat.v1.placeholder(source.dtype, source.shape)
    inputs = list(made.values())

    @functools.cache
    def num_rows() -> tf.Tensor:
      return tf.shape(inputs[0])[0]

    operations = [x for x in operations if x.outputs[0].name not in made]
    for operation in operations:
      _copy(
        graph,
        operation,
        [made.get(x.name) for x in operation.inputs],
        num_rows,
        made,
      )
    # An input that is handed on needs a name of its own.
    outputs = [
      tf.identity(made[x.name]) if x.op.type == "Placeholder" else made[x.name]
      for x in states
    ]
    for state, output in zip(states, outputs, strict=True):
      output.set_shape(_shape(graph, state, None))
    for tensor in shaped:
      sizes = tf.shape(made[tensor.name])[1:]
      outputs.append(tf.tile(sizes[None], [num_rows(), 1]))
  tables = _tables(graph, made)
  return Part(target, inputs, outputs, operations, tables), features


def _pair(
  graph: ColoredGraph,
  boundary: Boundary,
  of_user: Sequence[tf.Tensor],
  of_item: Sequence[tf.Tensor],
) -> Part:
  """Returns the part of the pair; only a single user's."""
  target = tf.Graph()
  with target.as_default():
    single = {
      x.name: tf.compat.v1.placeholder(x.dtype, _shape(graph, x, 1))
      for x in of_user
    }
    sizes = {
      x.name: tf.compat.v1.placeholder(tf.int32, [1, None])
      for x in boundary.shaped
    }
    made = {
      x.name: tf.compat.v1.placeholder(x.dtype, _shape(graph, x, None))
      for x in of_item
    }
    inputs = [*single.values(), *sizes.values(), *made.values()]

    @functools.cache
    def num_pairs() -> tf.Tensor:
      return tf.shape(inputs[-1])[0]

    def repeated(tensor: tf.Tensor) -> tf.Tensor:
      if tensor.name in single and tensor.name not in made:
        one = single[tensor.name]
        shape = tf.concat([num_pairs()[None], tf.shape(one)[1:]], axis=0)
        made[tensor.name] = tf.broadcast_to(one, shape)
      return made.get(tensor.name)

    for operation in boundary.operations:
      if needs_shape_only(graph, operation):
        rest = sizes[operation.inputs[0].name][0]
        shape = tf.concat([num_pairs()[None], rest], axis=0)
        tensor = operation.outputs[0]
        made[tensor.name] = tf.cast(shape, tensor.dtype)
        continue
      arguments = [
        single[x.name]
        if x.name in single and _broadcasts(graph, operation, x, single)
        else repeated(x)
        for x in inputs_of(graph, operation)
      ]
      _copy(graph, operation, arguments, num_pairs, made)
    outputs = [repeated(graph.output)]
  tables = _tables(graph, made)
  return Part(target, inputs, outputs, boundary.operations, tables)


def _tables(
  graph: ColoredGraph, made: Mapping[str, tf.Tensor]
) -> dict[str, np.ndarray]:
  """Returns the tables that a part uses, by the name they have in it."""
  return {
    made[name].name: array
    for name, array in graph.tables.items()
    if name in made
  }


def _broadcasts(
  graph: ColoredGraph,
  operation: tf.Operation,
  tensor: tf.Tensor,
  single: Mapping[str, Any],
) -> bool:
  """Returns whether an op repeats a [1, *] input by itself."""
  rank = len(graph[operation.outputs[0]].shape or ())
  others = [x for x in operation.inputs if x.name not in single]
  return (
    operation.type in _BROADCASTING
    and len(graph[tensor].shape or ()) == rank
    and any(
      graph[x].leads and len(graph[x].shape or ()) == rank for x in others
    )
  )


def _copy(
  graph: ColoredGraph,
  operation: tf.Operation,
  inputs: Sequence[tf.Tensor],
  num_rows: Callable[[], tf.Tensor],
  made: dict[str, tf.Tensor],
) -> None:
  """Copies an op; what depends on the number of rows gets that of the part."""
  if not graph.depends_on_count_only(operation):
    copies = graph.copy(operation, inputs)
  elif graph.is_number_of_pairs(operation):
    copies = [tf.cast(num_rows(), operation.outputs[0].dtype)]
  else:
    sizes = graph[operation.inputs[0]].sizes
    shape = tf.stack([num_rows(), *(sizes or ())])
    dtype = operation.outputs[0].dtype
    copies = [
      tf.cast(shape, dtype)
      if operation.type == "Shape"
      else tf.fill(shape, tf.cast(operation.type == "OnesLike", dtype))
    ]
  for tensor, copy in zip(operation.outputs, copies, strict=True):
    made.setdefault(tensor.name, copy)


def _shape(
  graph: ColoredGraph, tensor: tf.Tensor, num_rows: int | None
) -> list[int | None]:
  fact = graph[tensor]
  assert fact.shape is not None
  if fact.sizes is not None:
    return [num_rows, *fact.sizes]
  if tensor.shape.rank is None:
    return [num_rows, *(None for _ in fact.shape[1:])]
  return [num_rows, *tensor.shape[1:]]
