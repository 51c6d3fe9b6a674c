"""The search as evaluation, export and serving call it: by the custom op.

`reference` is the same in stock TensorFlow ops.
"""

from typing import Any

import tensorflow as tf

from nann import ops
from nann.retrieval.tensors import GraphTensors, PolicyTensors, Score


def beam_search(
  graph: GraphTensors,
  score: Score,
  user_state: Any,
  item_state: Any,
  expand: tf.Tensor,
  only_score: tf.Tensor,
  policy: PolicyTensors,
  k: tf.Tensor | int,
  allowed: tf.Tensor | None = None,
  denied: tf.Tensor | None = None,
) -> ops.Found:
  """Finds the k best items of each of B users.

  Args:
    graph: The graph that fits the policy.
    score: (user_state, item_state nest [1, N, *]) -> [1, N] float32.
    user_state: Nest of [B, *].
    item_state: Nest of [I, *].
    expand: [B, F] int32 rows to start from and expand, padded with -1; policy
      best_first only.
    only_score: [B, M] int32 rows to start from if they score well, likewise.
    policy: How to walk.
    k: K, a scalar.
    allowed: [B, (I + 7) / 8] uint8, bits of the rows that may be returned (row
      r is bit r % 8 of byte r / 8); None: all.
    denied: [B, X] int32 rows that may not be returned, padded with -1.

  Returns:
    rows [B, K] int32 padded with -1, scores [B, K] float32 padded with -inf,
    num_scored [B, S] int32.
  """
  return ops.beam_search(
    graph.levels,
    graph.entry_points,
    score,
    user_state,
    item_state,
    expand,
    only_score,
    k,
    allowed=allowed,
    denied=denied,
    widths=policy.widths,
    hops=policy.hops,
    limits=policy.limits,
  )


def beam_search_on_gpu(*arguments: Any) -> ops.Found:
  """Does the same by the op's kernel for GPUs; in a graph only."""
  with ops.search_on_gpu():
    return beam_search(*arguments)
