"""What needs no network: popularity and item-item cosine.

Computed from the training users only. The item-item similarities are never
stored: with the binary user x item matrix X and item norms n, the score of a
history is (h / n) X^T X / n, two sparse products for a block of users.
"""

from collections.abc import Callable, Iterator

import numpy as np
import scipy.sparse

_USERS = 64

Progress = Callable[[int], None]


class Baselines:
  """Answers of the baselines, as item ids."""

  def __init__(
    self, item_ids: np.ndarray, row_splits: np.ndarray, num_items: int
  ) -> None:
    """Takes the events of the training users.

    Args:
      item_ids: [E] item ids, sequences one after the other.
      row_splits: [U + 1] where each user's sequence begins.
      num_items: I.
    """
    counts = np.bincount(item_ids, minlength=num_items + 1)
    counts[0] = 0
    self._popular = np.argsort(-counts, kind="stable")
    self._popular = self._popular[self._popular > 0]
    ones = np.ones(len(item_ids), dtype=np.float32)
    # Summing sorts in place: without a copy, the caller's sequences.
    matrix = scipy.sparse.csr_matrix(
      (ones, item_ids, row_splits),
      shape=(len(row_splits) - 1, num_items + 1),
      copy=True,
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    users_of_item = np.asarray(matrix.sum(axis=0)).ravel()
    self._inverse_norm = 1.0 / np.sqrt(np.maximum(users_of_item, 1.0))
    self._inverse_norm[0] = 0.0
    self._users_to_items = matrix
    self._items_to_users = matrix.T.tocsr()

  def most_popular(self, number: int, k: int) -> np.ndarray:
    """Returns [number, k] item ids, the same for everyone."""
    return np.tile(self._popular[:k], (number, 1))

  def item_item(
    self, histories: np.ndarray, k: int, progress: Progress = lambda n: None
  ) -> dict[str, np.ndarray]:
    """Answers by cosine to the distinct items of the history.

    Args:
      histories: [n, L] int64 item ids, padded with 0.
      k: K.
      progress: Called with the number of users of each block.

    Returns:
      [n, K] item ids of "item-item cosine", of "item-item, no history" (without
      the history's items) and of "history first" (the history's items, newest
      first, then item-item).
    """
    answers: dict[str, list[np.ndarray]] = {}
    num_items = len(self._inverse_norm) - 1
    for block, scores in self._scores(histories):
      for place, history in enumerate(block):
        row = slice(*scores.indptr[place : place + 2])
        newest_first = history[::-1][history[::-1] > 0]
        distinct = np.array(list(dict.fromkeys(newest_first.tolist())), int)
        ranked = _ranked(
          scores.indices[row], scores.data[row], k + len(distinct), num_items
        )
        novel = ranked[~np.isin(ranked, distinct)]
        for name, items in (
          ("item-item cosine", ranked),
          ("item-item, no history", novel),
          ("history first", np.concatenate([distinct, novel])),
        ):
          answers.setdefault(name, []).append(_padded(items, k))
      progress(len(block))
    return {name: np.stack(rows) for name, rows in answers.items()}

  def _scores(
    self, histories: np.ndarray
  ) -> Iterator[tuple[np.ndarray, scipy.sparse.csr_matrix]]:
    """Yields blocks of histories with their scores [B, I + 1], where any."""
    for begin in range(0, len(histories), _USERS):
      block = histories[begin : begin + _USERS]
      distinct = [np.unique(history[history > 0]) for history in block]
      splits = np.concatenate([[0], np.cumsum([len(d) for d in distinct])])
      items = np.concatenate(distinct).astype(int)
      weights = scipy.sparse.csr_matrix(
        (self._inverse_norm[items], items, splits),
        shape=(len(block), len(self._inverse_norm)),
      )
      scores = (weights @ self._items_to_users) @ self._users_to_items
      scores.data *= self._inverse_norm[scores.indices]
      yield block, scores


def _ranked(
  items: np.ndarray, scores: np.ndarray, number: int, num_items: int
) -> np.ndarray:
  """Returns the items of the highest scores, ties by item id.

  Args:
    items: [n] item ids that have a score above 0, and
    scores: [n] their scores; all other items score 0.
    number: Items to return, at most.
    num_items: I.
  """
  number = min(number, num_items)
  if len(items) > number:
    kth = np.partition(scores, -number)[-number]
    items, scores = items[scores >= kth], scores[scores >= kth]
  best: np.ndarray = items[np.lexsort((items, -scores))][:number]
  if len(best) == number:
    return best
  others = np.arange(1, min(num_items, number + len(best)) + 1)
  others = others[~np.isin(others, best)]
  return np.concatenate([best, others[: number - len(best)]])


def _padded(items: np.ndarray, k: int) -> np.ndarray:
  answer = np.zeros(k, dtype=np.int64)
  answer[: min(k, len(items))] = items[:k]
  return answer
