"""Exact top k: every item is scored, in blocks, in bounded memory."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from nann.retrieval.result import SearchResult
from nann.retrieval.retriever import Retriever

_USERS, _ROWS = 16, 16384


def exact_search(
  retriever: Retriever,
  histories: np.ndarray,
  k: int,
  progress: Callable[[int], None] = lambda users: None,
  allowed: np.ndarray | None = None,
  exclude_history: bool = False,
) -> Iterator[SearchResult]:
  """Scores all items for many users, a batch of users at a time.

  With a filter only the items that may be returned are scored.

  Args:
    retriever: Scorer and items.
    histories: [n, L] int64 item ids.
    k: Results per user; clamped to the number of items.
    progress: Called with the number of users of each batch.
    allowed: [n, (I + 7) / 8] uint8, bits of the rows that may be returned, as
      for `Retriever.search`.
    exclude_history: Return no item of the history.
  """
  k = min(k, len(retriever.items))
  is_filtered = allowed is not None or exclude_history
  users_at_once = 1 if is_filtered else _USERS
  for begin in range(0, len(histories), users_at_once):
    part = slice(begin, begin + users_at_once)
    user_state = retriever.user_state(tf.constant(histories[part]))
    if is_filtered:
      denied = histories[begin] if exclude_history else histories[begin, :0]
      bits = None if allowed is None else allowed[begin]
      rows = allowed_rows(retriever, bits, denied)
      yield _exact_of_rows(retriever, user_state, rows, k)
    else:
      yield _exact_of_all(retriever, user_state, len(histories[part]), k)
    progress(len(histories[part]))


def allowed_rows(
  retriever: Retriever, allowed: np.ndarray | None, denied: np.ndarray
) -> np.ndarray:
  """Returns the int32 rows that a query may return.

  Args:
    retriever: The items.
    allowed: [(I + 7) / 8] uint8 bits, or None: all.
    denied: [n] int64 item ids that may not be returned.
  """
  num_rows = len(retriever.items)
  mask: np.ndarray = np.ones(num_rows, dtype=bool)
  if allowed is not None:
    bits = np.unpackbits(allowed, count=num_rows, bitorder="little")
    mask = bits.astype(bool)
  rows = retriever.items.rows_of(denied)
  mask[rows[rows >= 0]] = False
  return np.flatnonzero(mask).astype(np.int32)


def _exact_of_all(
  retriever: Retriever, user_state: Any, num_users: int, k: int
) -> SearchResult:
  num_rows = len(retriever.items)

  def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for first in range(0, num_rows, _ROWS):
      last = min(first + _ROWS, num_rows)
      scores = retriever.score_range(
        user_state, tf.constant(first), tf.constant(last)
      )
      yield np.arange(first, last, dtype=np.int32), scores.numpy()

  return _best_of_blocks(blocks(), num_users, k)


def _exact_of_rows(
  retriever: Retriever, user_state: Any, rows: np.ndarray, k: int
) -> SearchResult:
  def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for first in range(0, len(rows), _ROWS):
      part = rows[first : first + _ROWS]
      yield part, retriever.score_rows(user_state, tf.constant(part)).numpy()

  found = _best_of_blocks(blocks(), 1, k)
  missing = [(0, 0), (0, k - found.rows.shape[1])]
  return SearchResult(
    np.pad(found.rows, missing, constant_values=-1),
    np.pad(found.scores, missing, constant_values=-np.inf),
    found.num_scored,
  )


def _best_of_blocks(
  blocks: Iterable[tuple[np.ndarray, np.ndarray]], num_users: int, k: int
) -> SearchResult:
  """Returns the best of blocks of (rows [n], scores [B, n])."""
  rows: np.ndarray = np.zeros((num_users, 0), dtype=np.int32)
  scores: np.ndarray = np.zeros((num_users, 0), dtype=np.float32)
  total = 0
  for numbers, block in blocks:
    total += len(numbers)
    if scores.shape[1] == k:
      # Few columns of a later block are among anyone's best.
      near = np.flatnonzero((block >= scores[:, -1:]).any(axis=0))
      numbers, block = numbers[near], block[:, near]
    rows = np.concatenate([rows, np.tile(numbers, (num_users, 1))], axis=1)
    scores = np.concatenate([scores, block], axis=1)
    rows, scores = best(rows, scores, k)
  return SearchResult(
    rows, scores, np.full((num_users, 1), total, dtype=np.int32)
  )


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
