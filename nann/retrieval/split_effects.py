"""Which ops answer differently to the same inputs: random or with a state.

A loop or a branch is what the ops of its functions are.
"""

from typing import Any

import tensorflow as tf
from tensorflow.python.framework import op_def_registry

_CALLS = ("While", "If", "Case", "PartitionedCall", "StatefulPartitionedCall")


class Effects:
  """Knows the functions of a graph."""

  def __init__(self, library: Any) -> None:
    """Looks into all functions of a FunctionDefLibrary."""
    self._functions = _stateful_functions(library)

  def has_any(self, operation: tf.Operation) -> bool:
    """Returns whether an op is random or has a state."""
    if operation.type == "Placeholder":
      return False
    return _is_stateful(operation.node_def, self._functions)


def functions(node: Any) -> list[str]:
  """Returns the names of the functions that a node calls."""
  names = []
  for value in node.attr.values():
    names += [f.name for f in (value.func, *value.list.func) if f.name]
  return names


def _stateful_functions(library: Any) -> set[str]:
  """Returns the functions with an op that is random or has a state."""
  found: set[str] = set()
  for _ in range(len(library.function)):
    size = len(found)
    for function in library.function:
      if any(_is_stateful(node, found) for node in function.node_def):
        found.add(function.signature.name)
    if len(found) == size:
      break
  return found


def _is_stateful(node: Any, stateful_functions: set[str]) -> bool:
  if node.op in _CALLS:
    return any(name in stateful_functions for name in functions(node))
  definition = op_def_registry.get(node.op)
  return definition is None or definition.is_stateful
