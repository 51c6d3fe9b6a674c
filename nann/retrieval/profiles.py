"""Score profiles: what some users think of every item, in few numbers.

Two items with alike profiles are liked by the same users, whatever their
embeddings say: a graph whose neighbors are near in both leads a search to the
answers in fewer evaluations than one of embeddings alone. The users come from
the training data.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from nann.retrieval.retriever import Retriever

# What matters is who likes an item, not who dislikes it more.
_QUANTILE, _SLOPE_BELOW = 0.9, 0.1
_SAMPLE_ROWS = 20_000
_ROWS = 1024


def score_profiles(
  retriever: Retriever,
  histories: np.ndarray,
  width: int,
  seed: int,
  progress: Callable[[int], None] = lambda rows: None,
) -> np.ndarray:
  """Returns [I, P] float32: principal components of the users' scores.

  A score counts by how far it is above the user's 90 % quantile, below it a
  tenth as much; the components are those of a sample of the items.

  Args:
    retriever: Scorer and items.
    histories: [m, L] int64 item ids of users.
    width: P; fewer where there are fewer users or items.
    seed: Which items are sampled.
    progress: Called with the number of items of each block.
  """
  user_state = retriever.user_state(tf.constant(histories))
  number = len(retriever.items)
  rng = np.random.default_rng(seed)
  sample = rng.permutation(number)[:_SAMPLE_ROWS].astype(np.int32)
  scores = np.concatenate(
    [
      retriever.score_rows(user_state, tf.constant(rows)).numpy()
      for rows in np.array_split(sample, -(-len(sample) // _ROWS))
    ],
    axis=1,
  )
  quantile = np.quantile(scores, _QUANTILE, axis=1).astype(np.float32)
  mean, components = _principal_components(_emphasized(scores, quantile), width)
  profiles: np.ndarray = np.empty((number, components.shape[1]), np.float32)
  for begin in range(0, number, _ROWS):
    end = min(begin + _ROWS, number)
    scores = retriever.score_range(
      user_state, tf.constant(begin), tf.constant(end)
    ).numpy()
    profiles[begin:end] = (_emphasized(scores, quantile) - mean) @ components
    progress(end - begin)
  return profiles


def _emphasized(scores: np.ndarray, quantile: np.ndarray) -> np.ndarray:
  """Returns [n, m] of scores [m, n] and the users' quantiles [m]."""
  above = scores.T - quantile
  emphasized: np.ndarray = np.where(above > 0, above, _SLOPE_BELOW * above)
  return emphasized


def _principal_components(
  values: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the mean [m] of values [n, m], and components [m, <= width]."""
  mean: Any = values.mean(axis=0)
  centered = values - mean
  # Ascending by variance.
  _, vectors = np.linalg.eigh(centered.T @ centered)
  return mean, vectors[:, ::-1][:, :width]
