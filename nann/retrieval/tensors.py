"""The graph as tensors, rows that are filled in place, and the type of a
scorer's pair part."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from nann import memory
from nann.in_place import in_place
from nann.index.graph import HnswGraph
from nann.retrieval.result import PaperPolicy, Policy

# (user_state nest [B, *], item_state nest [B or 1, N, *]) -> [B, N] float32.
Score = Callable[[Any, Any], tf.Tensor]


class GraphTensors(NamedTuple):
  """An `HnswGraph` as tensors: levels of (values int32, row_splits int64)."""

  levels: tuple[tuple[tf.Tensor, tf.Tensor], ...]
  entry_points: tf.Tensor


def graph_tensors(graph: HnswGraph) -> GraphTensors:
  """Makes tensors of a graph."""
  return GraphTensors(
    tuple(
      (in_place(level.values), in_place(level.row_splits))
      for level in graph.levels
    ),
    tf.constant(graph.entry_points),
  )


class PolicyTensors(NamedTuple):
  """A `Policy` as tensors, so that one traced search serves all settings.

  Attributes:
    widths: Policy paper: [S + 1] int32; else None.
    hops: Likewise.
    limits: Policy best_first: [4] int64, ef, width, max_steps,
      max_evaluations; else None.
  """

  widths: tf.Tensor | None
  hops: tf.Tensor | None
  limits: tf.Tensor | None


def policy_tensors(policy: Policy) -> PolicyTensors:
  """Makes tensors of a policy."""
  if isinstance(policy, PaperPolicy):
    return PolicyTensors(
      tf.constant(policy.widths, tf.int32),
      tf.constant(policy.hops, tf.int32),
      None,
    )
  limits = (policy.ef, policy.width, policy.max_steps, policy.max_evaluations)
  return PolicyTensors(None, None, tf.constant(limits, tf.int64))


class RowsInPlace:
  """A large tensor that is filled from above, a part of its rows at a time.

  Joining the parts would hold all of them twice.
  """

  def __init__(self, number: int, like: tf.Tensor) -> None:
    """Makes room.

    Args:
      number: Rows.
      like: [n, ...] rows such as will be added.
    """
    self._dtype = like.dtype
    self._row_shape = like.shape[1:]
    width = int(self._row_shape.num_elements())
    # As unsigned integers, since NumPy hands over no bfloat16.
    self._rows = memory.aligned(
      (number, width), np.dtype(f"u{like.dtype.size}")
    )
    self._num_filled = 0

  def add(self, part: tf.Tensor) -> None:
    """Fills the next rows with a part [n, ...]."""
    end = self._num_filled + int(part.shape[0])
    rows = self._rows[self._num_filled : end]
    rows[:] = part.numpy().view(rows.dtype).reshape(rows.shape)
    self._num_filled = end

  def tensor(self) -> tf.Tensor:
    """Returns the tensor, which lies where it was filled."""
    assert self._num_filled == len(self._rows)
    shaped = tf.reshape(
      in_place(self._rows), [len(self._rows), *self._row_shape]
    )
    return tf.bitcast(shaped, self._dtype)
