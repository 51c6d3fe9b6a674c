"""Where the nodes of an exported graph run that searches on a GPU.

The search alone is on the GPU; all else, which reads files and ids, stays on
the processor. The search's node names no device: on which GPU it runs is said
by who loads the model.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf

from nann import ops

_CPU = "/device:CPU:0"
_FUNCTION = "func"


def keep_on_cpu(graph_def: tf.compat.v1.GraphDef) -> None:
  """Puts all but searches for a GPU on the processor, in place.

  Without it TensorFlow would choose the GPU for every node that can run there,
  and copy the arrays of the model to it for each request. A graph without such
  a search is left as it is.

  Raises:
    ValueError: Such a search lies inside a function, where it cannot be told on
      which GPU to run.
  """
  bodies = {f.signature.name: f.node_def for f in graph_def.library.function}
  called = [bodies[name] for name in _reached(graph_def.node, bodies)]
  if any(map(ops.is_for_gpu, _all(called))):
    raise ValueError(
      "a search for a GPU lies inside a condition; with --search-policy paper"
      " and --search-device gpu give --search-mode graph"
    )
  if not any(map(ops.is_for_gpu, graph_def.node)):
    return
  for node in _all([graph_def.node, *called]):
    if not ops.is_for_gpu(node):
      node.device = _CPU


def _reached(nodes: Iterable[Any], bodies: dict[str, Any]) -> list[str]:
  """Returns the functions that nodes call, but for the scorers of searches."""
  found: list[str] = []
  waiting = list(_called(nodes))
  while waiting:
    name = waiting.pop()
    if name in bodies and name not in found:
      found.append(name)
      waiting += _called(bodies[name])
  return found


def _called(nodes: Iterable[Any]) -> Iterator[str]:
  for node in nodes:
    if ops.is_for_gpu(node):
      continue
    yield node.op
    for value in node.attr.values():
      if value.WhichOneof("value") == _FUNCTION:
        yield value.func.name
      yield from (function.name for function in value.list.func)


def _all(bodies: Iterable[Iterable[Any]]) -> Iterator[Any]:
  return (node for body in bodies for node in body)
