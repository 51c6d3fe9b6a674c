"""Where a colored graph is cut: what is stored of the user and of the item.

The cut runs through tensors with a row per pair. Where the pair part needs
anything else of one side (a shape, a transposed or flattened tensor), it
computes that again from what was cut above it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf

from nann.retrieval.split_graph import Color, ColoredGraph

# So cheap that their input is the better thing to store.
_CHEAP = (
  *("Reshape", "ExpandDims", "Squeeze", "Tile", "BroadcastTo", "Pack"),
  *("Cast", "OneHot", "Neg", "LogicalNot", "Equal", "NotEqual"),
  *("Less", "LessEqual", "Greater", "GreaterEqual"),
)


class Boundary(NamedTuple):
  """Where the graph is cut.

  Attributes:
    states: Tensors of the user or the item that the pair part takes.
    shaped: Tensors of the user of which it takes the shape only.
    operations: What the pair part computes.
  """

  states: list[tf.Tensor]
  shaped: list[tf.Tensor]
  operations: list[tf.Operation]


def find_boundary(graph: ColoredGraph) -> Boundary:
  """Cuts as late as possible, but never stores what is cheap to derive."""
  derived: set[str] = set()
  while True:
    boundary = _latest_boundary(graph, derived)
    found = _derived_states(graph, boundary.states)
    if not found:
      return boundary
    derived |= found


def _latest_boundary(graph: ColoredGraph, derived: set[str]) -> Boundary:
  wanted = {graph.output.name}
  boundary = Boundary([], [], [])
  rest: list[tf.Tensor]
  for operation in reversed(graph.operations):
    rest = []
    for tensor in operation.outputs:
      if tensor.name in wanted:
        is_state = tensor.name not in derived and _is_state(graph, tensor)
        (boundary.states if is_state else rest).append(tensor)
    if not rest:
      continue
    boundary.operations.append(operation)
    if needs_shape_only(graph, operation):
      boundary.shaped.append(operation.inputs[0])
    else:
      wanted.update(x.name for x in inputs_of(graph, operation))
  boundary.operations.reverse()
  return boundary


def inputs_of(graph: ColoredGraph, operation: tf.Operation) -> list[tf.Tensor]:
  if graph.depends_on_count_only(operation):
    return []
  return list(operation.inputs)


def needs_shape_only(graph: ColoredGraph, operation: tf.Operation) -> bool:
  """Returns whether an op is the shape of a user's tensor, sizes unknown."""
  if operation.type != "Shape" or graph.depends_on_count_only(operation):
    return False
  fact = graph[operation.inputs[0]]
  return fact.color == Color.USER and fact.leads


def _is_state(graph: ColoredGraph, tensor: tf.Tensor) -> bool:
  fact = graph[tensor]
  if fact.color not in (Color.USER, Color.ITEM) or not fact.by_row:
    return False
  # The user's state is stored once for a search, the items' for all items.
  return fact.color == Color.USER or all(
    fact.size_bytes(tensor) <= graph[source].size_bytes(source)
    for source in _cheap_sources(graph, tensor)
  )


def _cheap_sources(
  graph: ColoredGraph, tensor: tf.Tensor
) -> Iterator[tf.Tensor]:
  """Yields the tensors that one is cheap to derive from, the nearest first."""
  source = _cheap_source(graph, tensor)
  while source is not None:
    yield source
    source = _cheap_source(graph, source)


def _cheap_source(graph: ColoredGraph, tensor: tf.Tensor) -> tf.Tensor | None:
  """Returns the one tensor that another is cheap to derive from, if any."""
  if tensor.op.type not in _CHEAP:
    return None
  sources = [x for x in tensor.op.inputs if graph[x].color != Color.NONE]
  if len(sources) != 1 or not graph[sources[0]].by_row:
    return None
  return sources[0]


def _derived_states(
  graph: ColoredGraph, states: Sequence[tf.Tensor]
) -> set[str]:
  """Returns the items' states that share a source no larger than they are."""
  groups: dict[str, list[tf.Tensor]] = {}
  sources = {}
  for state in states:
    if graph[state].color != Color.ITEM:
      continue
    *_, source = (state, *_cheap_sources(graph, state))
    groups.setdefault(source.name, []).append(state)
    sources[source.name] = source
  found = set()
  for name, group in groups.items():
    size_bytes = sum(graph[state].size_bytes(state) for state in group)
    source = sources[name]
    if len(group) > 1 and graph[source].size_bytes(source) <= size_bytes:
      found |= {state.name for state in group} - {name}
  return found
