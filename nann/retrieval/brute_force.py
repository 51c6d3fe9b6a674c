"""Exact top k: every item is scored, in blocks, in bounded memory."""

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from nann.retrieval.result import SearchResult
from nann.retrieval.retriever import Retriever

_USERS, _ROWS = 16, 4096


def exact_search(
  retriever: Retriever,
  histories: np.ndarray,
  k: int,
  progress: Callable[[int], None] = lambda users: None,
) -> Iterator[SearchResult]:
  """Scores all items for many users, a batch of users at a time.

  Args:
    retriever: Scorer and items.
    histories: [n, L] int64 item ids.
    k: Results per user; clamped to the number of items.
    progress: Called with the number of users of each batch.
  """
  num_rows = len(retriever.items)
  for begin in range(0, len(histories), _USERS):
    part = histories[begin : begin + _USERS]
    user_state = retriever.user_state(tf.constant(part))
    rows: np.ndarray = np.zeros((len(part), 0), dtype=np.int32)
    scores: np.ndarray = np.zeros((len(part), 0), dtype=np.float32)
    for first in range(0, num_rows, _ROWS):
      last = min(first + _ROWS, num_rows)
      block = retriever.score_rows(
        user_state, tf.constant(first), tf.constant(last)
      ).numpy()
      numbers = np.arange(first, last, dtype=np.int32)
      rows = np.concatenate([rows, np.tile(numbers, (len(part), 1))], axis=1)
      scores = np.concatenate([scores, block], axis=1)
      rows, scores = best(rows, scores, k)
    progress(len(part))
    count = np.full((len(part), 1), num_rows, dtype=np.int32)
    yield SearchResult(rows, scores, count)


def best(
  rows: np.ndarray, scores: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the k best of each query: score descending, then row ascending.

  Args:
    rows: [B, n] int32.
    scores: [B, n] float32.
    k: K; fewer where n < K.
  """
  if scores.shape[1] > 4 * k:
    # What is below the k-th best score can be left out before sorting; ties
    # with it cannot.
    kth = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
    most = int(np.max((scores >= kth).sum(axis=1)))
    chosen = np.argpartition(-scores, most - 1, axis=1)[:, :most]
    rows = np.take_along_axis(rows, chosen, axis=1)
    scores = np.take_along_axis(scores, chosen, axis=1)
  order = np.lexsort((rows, -scores), axis=1)[:, :k]
  return (
    np.take_along_axis(rows, order, axis=1),
    np.take_along_axis(scores, order, axis=1),
  )
