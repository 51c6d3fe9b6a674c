"""The search as evaluation, export and serving call it.

One function for both policies. It runs the stock-op version.
"""

from typing import Any

import tensorflow as tf

from nann.retrieval import reference
from nann.retrieval.result import PaperPolicy, Policy


def beam_search(
  graph: reference.GraphTensors,
  score: reference.Score,
  user_state: Any,
  item_state: Any,
  expand: tf.Tensor,
  only_score: tf.Tensor,
  policy: Policy,
  k: int,
) -> reference.Found:
  """Finds the k best items of each of B users.

  Args:
    graph: The graph; see `reference.graph_tensors`.
    score: (user_state, item_state nest [B, N, *]) -> [B, N] float32.
    user_state: Nest of [B, *].
    item_state: Nest of [I, *].
    expand: [B, F] int32 rows to start from and expand, padded with -1; policy
      best_first only.
    only_score: [B, M] int32 rows to start from if they score well, likewise.
    policy: How to walk.
    k: K.

  Returns:
    rows [B, K] int32 padded with -1, scores [B, K] float32 padded with -inf,
    num_scored [B, S] int32.
  """
  if isinstance(policy, PaperPolicy):
    return reference.paper_search(
      graph, score, user_state, item_state, policy, k
    )
  return reference.best_first_search(
    graph, score, user_state, item_state, expand, only_score, policy, k
  )
