"""What a split achieved: how much each part computes."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from nann.retrieval.split_graph import ColoredGraph

_LOOPS = ("While", "StatelessWhile")
_PRODUCTS = ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")


class PartReport(NamedTuple):
  """What one part computes.

  Attributes:
    num_operations: Ops that run, constants left out.
    multiply_adds: Of products of matrices, loops left out.
    heavy: Types of the products, convolutions and loops in it, sorted.
  """

  num_operations: int
  multiply_adds: int
  heavy: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class SplitReport:
  """What a split achieved.

  Attributes:
    user: Once for a request.
    item: Once for an item.
    pair: For each pair, inside the search.
    whole: The model before the split.
    item_state_bytes: To be stored for one item.
    is_split: Part of the model's work is done outside the search.
    reason: Why not, or empty.
  """

  user: PartReport
  item: PartReport
  pair: PartReport
  whole: PartReport
  item_state_bytes: int
  is_split: bool
  reason: str

  def __str__(self) -> str:
    lines = [f"{'part':5} {'ops':>5} {'multiply-adds':>14}  heavy ops"]
    for name in ("whole", "user", "item", "pair"):
      part: PartReport = getattr(self, name)
      lines.append(
        f"{name:5} {part.num_operations:5} {part.multiply_adds:14,}"
        f"  {', '.join(part.heavy) or '-'}"
      )
    lines.append(f"state of an item: {self.item_state_bytes:,} bytes")
    return "\n".join(lines + ([self.reason] if self.reason else []))


def part_report(
  graph: ColoredGraph, operations: Sequence[tf.Operation], num_operations: int
) -> PartReport:
  """Counts what the operations of a part compute."""
  return PartReport(
    num_operations=num_operations,
    multiply_adds=sum(multiply_adds(graph, x) for x in operations),
    heavy=tuple(sorted({x.type for x in operations if is_heavy(x)})),
  )


def is_heavy(operation: tf.Operation) -> bool:
  """Returns whether an op is a product, a convolution or a loop."""
  return operation.type in (
    *_PRODUCTS,
    *_LOOPS,
    "Einsum",
  ) or operation.type.startswith(("Conv", "DepthwiseConv"))


def multiply_adds(graph: ColoredGraph, operation: tf.Operation) -> int:
  """Returns the multiply-adds of a matrix product for one pair, or 0."""
  if operation.type == "Einsum":
    return _einsum_multiply_adds(graph, operation)
  shape = graph[operation.outputs[0]].shape if operation.outputs else None
  left = graph[operation.inputs[0]].shape if operation.inputs else None
  if operation.type not in _PRODUCTS or shape is None or not left:
    return 0
  name = "transpose_a" if operation.type == "MatMul" else "adj_x"
  return math.prod(shape) * left[-2 if operation.get_attr(name) else -1]


def _einsum_multiply_adds(graph: ColoredGraph, operation: tf.Operation) -> int:
  equation = operation.get_attr("equation").decode()
  sizes: dict[str, int] = {}
  for labels, tensor in zip(
    equation.split("->")[0].split(","), operation.inputs, strict=True
  ):
    # A label for the three dots stands for all dimensions they cover.
    shape = graph[tensor].shape or ()
    if "." in labels or len(labels) != len(shape):
      return 0
    sizes.update(zip(labels, shape, strict=True))
  return math.prod(sizes.values())
