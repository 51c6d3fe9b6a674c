"""What a graph's tensors depend on: the user, the item, both or neither.

Knows graphs, not models. Which dimension counts pairs, and whether a tensor's
rows belong to one pair each, is not derived from the ops: it is observed, by
running rows together and alone. What the observation misses, the comparison
with the whole model finds (see `split`).
"""

import dataclasses
import enum
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from nann.retrieval import split_effects

_TOLERANCE = 1e-4
_OF_SHAPE_ONLY = ("Shape", "ZerosLike", "OnesLike")


class Color(enum.Flag):
  """Whose features a tensor depends on."""

  NONE = 0
  USER = 1
  ITEM = 2
  BOTH = 3


@dataclasses.dataclass(frozen=True)
class Fact:
  """What is known of one tensor.

  Attributes:
    color: Whose features its values depend on.
    counts_pairs: Its values depend on the number of pairs.
    leads: Its first dimension counts pairs.
    by_row: Moreover row i depends on pair i only.
    shape: [*] of a single pair, the first dimension included, as observed.
    sizes: The dimensions after the first that are the same for all inputs, or
      None if any is not.
  """

  color: Color
  counts_pairs: bool = False
  leads: bool = False
  by_row: bool = False
  shape: tuple[int, ...] | None = None
  sizes: tuple[int, ...] | None = None

  def size_bytes(self, tensor: tf.Tensor) -> int:
    """Returns the size for a single pair."""
    assert self.shape is not None
    return int(np.prod(self.shape)) * tensor.dtype.size


class ColoredGraph:
  """A graph with a fact for every tensor the output needs.

  Attributes:
    graph: The graph.
    inputs: Placeholders by feature, of the features the output depends on.
    colors: Color of each feature.
    output: The scores.
    operations: What the output needs, in an order of execution.
    num_rows: P, the rows it was observed with.
    tables: Values of the other placeholders, by name.
  """

  def __init__(
    self,
    graph: tf.Graph,
    inputs: Mapping[str, tf.Tensor],
    colors: Mapping[str, Color],
    output: tf.Tensor,
    rows: Mapping[str, np.ndarray],
    tables: Mapping[str, np.ndarray],
  ) -> None:
    """Colors a graph.

    Args:
      graph: The graph; control edges are ignored.
      inputs: Placeholders [n, *] by feature.
      colors: USER or ITEM for each feature.
      output: Scores [n] or [n, 1].
      rows: Features [P, *] to observe the graph with.
      tables: Values of the other placeholders, by name.
    """
    self.graph = graph
    self.output = output
    self.operations = _sorted_operations(output)
    used = {operation.name for operation in self.operations}
    self.inputs = {
      name: tensor for name, tensor in inputs.items() if tensor.op.name in used
    }
    self.colors = dict(colors)
    self.tables = {
      name: array
      for name, array in tables.items()
      if name.removesuffix(":0") in used
    }
    self._definition = tf.compat.v1.GraphDef(
      versions=graph.graph_def_versions, library=graph.as_graph_def().library
    )
    self._effects = split_effects.Effects(self._definition.library)
    self._facts: dict[str, Fact] = {}
    self._rows = rows
    self.num_rows = len(next(iter(rows.values())))
    # Without a free dimension but the first, observed sizes are the sizes.
    self._has_fixed_sizes = all(
      tensor.shape[1:].is_fully_defined() for tensor in self.inputs.values()
    )
    self._observe(rows)
    for operation in self.operations:
      self._color(operation)

  def __getitem__(self, tensor: tf.Tensor) -> Fact:
    return self._facts[tensor.name]

  def evaluate(
    self, tensors: Sequence[tf.Tensor], feed: Mapping[str, np.ndarray]
  ) -> list[np.ndarray]:
    """Returns the values of tensors for the observed rows, but for `feed`."""
    features = {x.name: self._rows[name] for name, x in self.inputs.items()}
    with tf.compat.v1.Session(graph=self.graph) as session:
      return session.run(list(tensors), {**self.tables, **features, **feed})

  def recolored(
    self, graph: tf.Graph, made: Mapping[str, tf.Tensor]
  ) -> "ColoredGraph":
    """Colors another graph of the same inputs.

    Args:
      graph: The other graph.
      made: Its inputs and output by the name they have here.
    """
    inputs = {name: made[x.name] for name, x in self.inputs.items()}
    output = made[self.output.name]
    tables = {made[name].name: array for name, array in self.tables.items()}
    return ColoredGraph(graph, inputs, self.colors, output, self._rows, tables)

  def copy(
    self, operation: tf.Operation, inputs: Sequence[tf.Tensor]
  ) -> list[tf.Tensor]:
    """Copies an op into the default graph, with other inputs.

    Control edges are dropped; what they order, assertions and prints, goes.
    """
    definition = tf.compat.v1.GraphDef()
    definition.versions.CopyFrom(self._definition.versions)
    if split_effects.functions(operation.node_def):
      definition.library.CopyFrom(self._definition.library)
    node = definition.node.add()
    node.CopyFrom(operation.node_def)
    node.attr.pop("_class", None)
    del node.input[:]
    node.input.extend(f"input_{i}" for i in range(len(inputs)))
    return tf.graph_util.import_graph_def(
      definition,
      input_map={f"input_{i}:0": tensor for i, tensor in enumerate(inputs)},
      return_elements=[
        f"{node.name}:{i}" for i in range(len(operation.outputs))
      ],
      name="",
    )

  def _observe(self, rows: Mapping[str, np.ndarray]) -> None:
    """Finds out which tensors have a row per pair."""
    tensors = [
      tensor
      for operation in self.operations
      for tensor in operation.outputs
      if can_fetch(tensor) and tensor.name not in self.tables
    ]
    alone = []
    with tf.compat.v1.Session(graph=self.graph) as session:

      def run(begin: int, end: int) -> list[np.ndarray]:
        feed = {x.name: rows[key][begin:end] for key, x in self.inputs.items()}
        return session.run(tensors, {**self.tables, **feed})

      together = run(0, self.num_rows)
      for row in range(self.num_rows):
        alone.append(run(row, row + 1))
    for i, tensor in enumerate(tensors):
      singles = [values[i] for values in alone]
      leads = _leads(together[i], singles)
      shape = singles[0].shape
      self._facts[tensor.name] = Fact(
        color=Color.NONE,
        leads=leads,
        by_row=leads and _same_rows(together[i], singles),
        shape=shape,
        sizes=self._sizes(tensor, shape),
      )

  def _sizes(
    self, tensor: tf.Tensor, shape: tuple[int, ...]
  ) -> tuple[int, ...] | None:
    if self._has_fixed_sizes:
      return shape[1:]
    if tensor.shape.rank and tensor.shape[1:].is_fully_defined():
      return tuple(tensor.shape[1:])
    return None

  def _color(self, operation: tf.Operation) -> None:
    color, counts_pairs = self._color_of(operation)
    for tensor in operation.outputs:
      fact = self._facts.get(tensor.name, Fact(Color.NONE))
      self._facts[tensor.name] = dataclasses.replace(
        fact, color=color, counts_pairs=counts_pairs
      )

  def _color_of(self, operation: tf.Operation) -> tuple[Color, bool]:
    for name, tensor in self.inputs.items():
      if operation is tensor.op:
        return self.colors[name], False
    # Not to be computed into a constant.
    if operation.outputs[0].name in self.tables:
      return Color.NONE, True
    if self._effects.has_any(operation):
      return Color.BOTH, True
    if self.depends_on_count_only(operation):
      return Color.NONE, True
    if self._is_fixed_size(operation):
      return Color.NONE, False
    if (
      operation.type == "Shape" and operation.inputs[0].shape.is_fully_defined()
    ):
      return Color.NONE, False
    facts = [self[tensor] for tensor in operation.inputs]
    color = Color.NONE
    for fact in facts:
      color |= fact.color
    counts_pairs = operation.type in _OF_SHAPE_ONLY and facts[0].leads
    return color, counts_pairs or any(fact.counts_pairs for fact in facts)

  def _is_fixed_size(self, operation: tf.Operation) -> bool:
    """Returns whether an op takes of a shape only what never changes."""
    if operation.type not in ("StridedSlice", "GatherV2"):
      return False
    shape = operation.inputs[0].op
    if shape.type != "Shape" or not self.depends_on_count_only(shape):
      return False
    if operation.type == "StridedSlice" and operation.get_attr("begin_mask"):
      return False
    # The first index of a slice, or all indices.
    indices = tf.get_static_value(operation.inputs[1])
    return indices is not None and bool((indices > 0).all())

  def depends_on_count_only(self, operation: tf.Operation) -> bool:
    """Returns whether an op needs of its input only the number of pairs."""
    if operation.type in _OF_SHAPE_ONLY:
      fact = self[operation.inputs[0]]
      return fact.leads and fact.sizes is not None
    return self.is_number_of_pairs(operation)

  def is_number_of_pairs(self, operation: tf.Operation) -> bool:
    """Returns whether an op is shape(x)[0], x having a row per pair."""
    if operation.type != "StridedSlice":
      return False
    shape = operation.inputs[0].op
    if shape.type != "Shape" or not self[shape.inputs[0]].leads:
      return False
    bounds = [tf.get_static_value(bound) for bound in operation.inputs[1:]]
    return (
      operation.get_attr("shrink_axis_mask") == 1
      and bounds[0] is not None
      and bounds[0].tolist() == [0]
    )


def can_fetch(tensor: tf.Tensor) -> bool:
  """Returns whether a tensor's value can leave its graph."""
  return tensor.dtype not in (tf.variant, tf.resource)


def _sorted_operations(output: tf.Tensor) -> list[tf.Operation]:
  """Returns all that a tensor depends on, inputs first."""
  done: dict[str, tf.Operation] = {}
  waiting = [output.op]
  while waiting:
    operation = waiting[-1]
    missing = [x.op for x in operation.inputs if x.op.name not in done]
    if missing:
      waiting += missing
      continue
    done[operation.name] = operation
    waiting.pop()
  return list(done.values())


def _leads(together: np.ndarray, alone: Sequence[np.ndarray]) -> bool:
  return (
    together.ndim > 0
    and len(together) == len(alone)
    and all(single.shape == (1, *together.shape[1:]) for single in alone)
  )


def _same_rows(together: np.ndarray, alone: Sequence[np.ndarray]) -> bool:
  apart = np.concatenate(alone)
  if not np.issubdtype(apart.dtype, np.floating):
    return bool((apart == together).all())
  scale = np.abs(apart).max(initial=0.0, where=np.isfinite(apart))
  return np.allclose(
    apart, together, rtol=0, atol=_TOLERANCE * scale, equal_nan=True
  )
