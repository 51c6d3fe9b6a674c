"""Algebra that lets a graph be cut earlier: a layer over joined features.

The first layer of most models multiplies [user, item] joined by one matrix.
That is a sum of a product with the user's columns and one with the item's, and
only the addition needs both:

  concat(u, i, b) W = u W_u + i W_i + b W_b

What is linear after a product (a bias, batch normalization at inference) goes
into its matrix; where an item is repeated along a history, its product is made
once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from nann.retrieval.split_graph import Color, ColoredGraph
from nann.retrieval.split_sums import Product, Sum, added_up, made, plus, scaled

_ADDITIONS = ("Add", "AddV2", "BiasAdd")
_BY_ELEMENT = (
  "Relu",
  "Elu",
  "Selu",
  "Tanh",
  "Sigmoid",
  "Neg",
  "Square",
  "Cast",
)
_MOVES = ("Reshape", "ExpandDims", "Squeeze", "Tile", "BroadcastTo")
_MOST_ELEMENTS = 1 << 24  # Exact integers of float32.


class _Column(NamedTuple):
  """A part of a tensor that was joined along its last dimension.

  Attributes:
    tensor: [n, *, width], in the new graph.
    color: Whose it is.
    width: Its columns.
    source: The same in the old graph, if it is there.
  """

  tensor: tf.Tensor
  color: Color
  width: int
  source: tf.Tensor | None


def spread(graph: ColoredGraph) -> ColoredGraph:
  """Returns the same function with products over joined features spread."""
  rewriter = _Rewriter(graph)
  target = tf.Graph()
  with target.as_default():
    for operation in graph.operations:
      rewriter.add(operation)
    rewriter.value(graph.output)
  return graph.recolored(target, rewriter.made)


class _Rewriter:
  """Copies a graph op by op into the default graph."""

  def __init__(self, graph: ColoredGraph) -> None:
    self.made: dict[str, tf.Tensor] = {}
    self._graph = graph
    self._columns: dict[str, list[_Column]] = {}
    self._sums: dict[str, Sum] = {}

  def add(self, operation: tf.Operation) -> None:
    """Copies an op, or notes its output as a sum."""
    found = self._product(operation) or self._linear(operation)
    if found is not None:
      self._sums[operation.outputs[0].name] = found
      return
    inputs = [self.value(tensor) for tensor in operation.inputs]
    copies = self._graph.copy(operation, inputs)
    for tensor, copy in zip(operation.outputs, copies, strict=True):
      self.made[tensor.name] = copy
    columns = self._joined(operation) or self._column_by_column(operation)
    if columns is not None:
      self._columns[operation.outputs[0].name] = columns

  def value(self, tensor: tf.Tensor) -> tf.Tensor:
    """Returns a tensor of the old graph in the new one."""
    if tensor.name not in self.made:
      self.made[tensor.name] = added_up(self._sums[tensor.name])
    return self.made[tensor.name]

  def _joined(self, operation: tf.Operation) -> list[_Column] | None:
    """Returns the columns of a concatenation along the last dimension."""
    if operation.type != "ConcatV2":
      return None
    *parts, axis = operation.inputs
    rank = len(self._shape(operation.outputs[0]))
    if tf.get_static_value(axis) not in (-1, rank - 1) or rank < 2:
      return None
    columns = []
    for part in parts:
      width = self._shape(part)[-1]
      color = self._graph[part].color or Color.USER
      own = _Column(self.value(part), color, width, part)
      columns += self._columns.get(part.name, [own])
    return columns

  def _column_by_column(self, operation: tf.Operation) -> list[_Column] | None:
    """Returns the columns of a function of columns that keeps them apart."""
    if not operation.inputs:
      return None
    columns = self._columns.get(operation.inputs[0].name)
    if columns is None:
      return None
    if operation.type in _BY_ELEMENT:
      return [
        x._replace(
          tensor=self._graph.copy(operation, [x.tensor])[0], source=None
        )
        for x in columns
      ]
    if operation.type not in ("Mul", "Sub", *_ADDITIONS):
      return None
    factor = self._constant(operation, operation.inputs[1])
    if factor is None:
      return None
    factors = np.split(
      np.broadcast_to(factor, [sum(x.width for x in columns)]),
      np.cumsum([x.width for x in columns])[:-1],
    )
    return [
      x._replace(
        tensor=self._graph.copy(operation, [x.tensor, tf.constant(part)])[0],
        source=None,
      )
      for x, part in zip(columns, factors, strict=True)
    ]

  def _product(self, operation: tf.Operation) -> Sum | None:
    """Returns a product with a constant, one term for each color."""
    found = self._factors(operation)
    if found is None:
      return None
    x, kernel = found
    columns = self._columns.get(x.name, [])
    if len({column.color for column in columns}) < 2:
      color = self._graph[x].color or Color.USER
      return Sum({color: Product(self.value(x), kernel)})
    ends = np.cumsum([column.width for column in columns])
    rows = np.split(kernel, ends[:-1])
    terms: dict[Color, tf.Tensor | Product] = {}
    for color in (Color.USER, Color.ITEM, Color.BOTH):
      own = [i for i, column in enumerate(columns) if column.color == color]
      if own:
        part = _concat([columns[i].tensor for i in own])
        if color == Color.ITEM and self._is_repeated([columns[i] for i in own]):
          part = part[:, :1]
        terms[color] = Product(part, np.concatenate([rows[i] for i in own]))
    return Sum(terms)

  def _factors(
    self, operation: tf.Operation
  ) -> tuple[tf.Tensor, np.ndarray] | None:
    """Returns x [n, *, K] and kernel [K, M] of an op that is x kernel."""
    if operation.type == "Reshape":
      return self._flattened_factors(operation)
    if operation.type not in ("MatMul", "BatchMatMulV2"):
      return None
    names = (
      ("transpose_a", "transpose_b")
      if operation.type == "MatMul"
      else ("adj_x", "adj_y")
    )
    left, right = operation.inputs
    if right.op.type != "Const" or right.shape.rank != 2:
      return None
    if not right.dtype.is_floating:
      return None
    if any(operation.get_attr(name) for name in names):
      return None
    return left, tf.get_static_value(right)

  def _flattened_factors(
    self, operation: tf.Operation
  ) -> tuple[tf.Tensor, np.ndarray] | None:
    """Likewise for tf.tensordot: reshape(reshape(x) kernel)."""
    product = operation.inputs[0].op
    found = self._factors(product) if product.type == "MatMul" else None
    if found is None or found[0].op.type != "Reshape":
      return None
    flat, kernel = found
    x = flat.op.inputs[0]
    if x.op.type == "Transpose":
      order = tf.get_static_value(x.op.inputs[1])
      if order is None or order.tolist() != list(range(len(order))):
        return None
      x = x.op.inputs[0]
    shape = self._shape(x)
    # A reshape keeps the order of the elements: the shapes tell all.
    if self._shape(flat) != (int(np.prod(shape[:-1])), shape[-1]):
      return None
    if self._shape(operation.outputs[0]) != (*shape[:-1], kernel.shape[1]):
      return None
    return x, kernel

  def _linear(self, operation: tf.Operation) -> Sum | None:
    """Returns a sum of sums, or a sum scaled or shifted by a constant."""
    if operation.type not in ("Mul", "Sub", *_ADDITIONS):
      return None
    left, right = operation.inputs
    if operation.type != "Sub" and left.op.type == "Const":
      left, right = right, left
    if right.op.type != "Const":
      return self._sum(operation)
    found = self._open_sum(left)
    factor = self._constant(operation, right, left)
    if factor is None or found is None:
      return None
    if operation.type == "Mul":
      return scaled(found, factor)
    shift = -factor if operation.type == "Sub" else factor
    return found._replace(bias=plus(found.bias, shift))

  def _sum(self, operation: tf.Operation) -> Sum | None:
    if operation.type not in ("Add", "AddV2"):
      return None
    left, right = operation.inputs
    if self._shape(left) != self._shape(right) or not self._shape(left):
      return None
    is_mixed = self._graph[left].color != self._graph[right].color
    sums = [self._open_sum(x) for x in (left, right)]
    if not is_mixed and not any(x and len(x.terms) > 1 for x in sums):
      return None
    terms: dict[Color, tf.Tensor | Product] = {}
    bias = None
    for tensor, found in zip((left, right), sums, strict=True):
      color = self._graph[tensor].color or Color.USER
      own = found or Sum({color: self.value(tensor)})
      bias = plus(bias, own.bias)
      for color, term in own.terms.items():
        terms[color] = (
          made(terms[color]) + made(term) if color in terms else term
        )
    return Sum(terms, bias)

  def _open_sum(self, tensor: tf.Tensor) -> Sum | None:
    """Returns a sum that nobody needed added up so far."""
    if tensor.name in self.made:
      return None
    return self._sums.get(tensor.name)

  def _constant(
    self,
    operation: tf.Operation,
    tensor: tf.Tensor,
    other: tf.Tensor | None = None,
  ) -> np.ndarray | None:
    """Returns a constant operand that acts on each column by itself."""
    other = operation.inputs[0] if other is None else other
    if tensor.op.type != "Const":
      return None
    value = tf.get_static_value(tensor)
    shape = self._shape(other)
    if not shape or value.ndim > len(shape):
      return None
    if value.size not in (1, shape[-1]):
      return None
    if value.ndim and value.shape[-1] != value.size:
      return None
    return value.reshape([-1])

  def _is_repeated(self, columns: Sequence[_Column]) -> bool:
    """Returns whether columns [n, L, *] are the same at every position."""
    return all(
      column.source is not None and self._is_repeated_tensor(column.source)
      for column in columns
    )

  def _is_repeated_tensor(self, tensor: tf.Tensor) -> bool:
    source = tensor
    while source.op.type in _MOVES:
      above = [
        x for x in source.op.inputs if self._graph[x].color != Color.NONE
      ]
      if len(above) != 1:
        return False
      source = above[0]
    shape = (self._graph.num_rows, *self._shape(source)[1:])
    is_small = np.prod(shape) < _MOST_ELEMENTS
    if len(self._shape(tensor)) != 3 or source is tensor or not is_small:
      return False
    if not (self._graph[source].leads and source.dtype == tf.float32):
      return False
    # Moves do not look at values: distinct ones show where each comes from.
    distinct = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    (moved,) = self._graph.evaluate([tensor], {source.name: distinct})
    return bool((moved == moved[:, :1]).all())

  def _shape(self, tensor: tf.Tensor) -> tuple[int, ...]:
    return self._graph[tensor].shape or ()


def _concat(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
  return tensors[0] if len(tensors) == 1 else tf.concat(tensors, axis=-1)
