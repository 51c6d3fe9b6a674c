"""The graph as tensors, and the type of a scorer's pair part."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

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
      (tf.constant(level.values), tf.constant(level.row_splits))
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
