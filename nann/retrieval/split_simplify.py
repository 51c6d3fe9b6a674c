"""Computes what is constant in a graph, and drops what does nothing."""

from collections.abc import Callable, Iterable, Sequence

import tensorflow as tf

from nann.retrieval.split_graph import Color, ColoredGraph, can_fetch

_PASS_THROUGH = ("Identity", "StopGradient", "PreventGradient", "Snapshot")


def simplify(source: ColoredGraph) -> ColoredGraph:
  """Copies a graph with its constant parts computed and identities dropped."""

  def inputs_of(operation: tf.Operation) -> list[tf.Tensor]:
    is_folded = _is_foldable(source, operation)
    return [] if is_folded else list(operation.inputs)

  operations = needed_operations(source.operations, [source.output], inputs_of)
  folded = [
    tensor
    for operation in operations
    if _is_foldable(source, operation)
    for tensor in operation.outputs
  ]
  values = dict(
    zip(
      [tensor.name for tensor in folded],
      source.evaluate(folded, {}),
      strict=True,
    )
  )
  made: dict[str, tf.Tensor] = {}
  graph = tf.Graph()
  with graph.as_default():
    for operation in operations:
      if operation.outputs[0].name in values:
        copies = [
          tf.constant(values[tensor.name], tensor.dtype)
          for tensor in operation.outputs
        ]
      elif operation.type in _PASS_THROUGH:
        copies = [made[operation.inputs[0].name]]
      else:
        copies = source.copy(
          operation, [made[tensor.name] for tensor in operation.inputs]
        )
      for tensor, copy in zip(operation.outputs, copies, strict=True):
        made[tensor.name] = copy
  return source.recolored(graph, made)


def needed_operations(
  operations: Sequence[tf.Operation],
  wanted: Iterable[tf.Tensor],
  inputs_of: Callable[[tf.Operation], Iterable[tf.Tensor]],
) -> list[tf.Operation]:
  """Returns the operations that some tensors need, in their order.

  Args:
    operations: All operations, in an order of execution.
    wanted: The tensors.
    inputs_of: Which of its inputs an operation needs.
  """
  names = {tensor.name for tensor in wanted}
  needed = []
  for operation in reversed(operations):
    if any(tensor.name in names for tensor in operation.outputs):
      needed.append(operation)
      names.update(tensor.name for tensor in inputs_of(operation))
  return needed[::-1]


def _is_foldable(graph: ColoredGraph, operation: tf.Operation) -> bool:
  return (
    operation.type not in ("Const", *_PASS_THROUGH)
    and all(map(can_fetch, operation.outputs))
    and all(
      graph[tensor].color == Color.NONE and not graph[tensor].counts_pairs
      for tensor in operation.outputs
    )
  )
