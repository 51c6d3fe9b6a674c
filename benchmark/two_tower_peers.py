"""What one does without a neural metric: two towers, faiss, and re-ranking.

The user's vector is computed by the trained two-tower model, its nearest items
by inner product are found by faiss, and a better scorer may rank the best of
them anew. On one thread.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import faiss
import frozen
import numpy as np
import tensorflow as tf

from nann.model.scorer import History
from nann.retrieval.retriever import Retriever

_LINKS, _EF_CONSTRUCTION = 32, 200

# A history [1, L] int64 -> rows [1, n].
Answer = Callable[[np.ndarray], np.ndarray]


class TwoTower:
  """A trained two-tower model and faiss's indices of its items."""

  def __init__(self, retriever: Retriever) -> None:
    parts = retriever.scorer.parts()
    vectors = parts.item_state(None, tf.constant(retriever.items.embeddings))
    self.vectors = np.ascontiguousarray(vectors.numpy())
    width = self.vectors.shape[1]
    flat = faiss.IndexFlatIP(width)
    flat.add(self.vectors)
    hnsw = faiss.IndexHNSWFlat(width, _LINKS, faiss.METRIC_INNER_PRODUCT)
    hnsw.hnsw.efConstruction = _EF_CONSTRUCTION
    hnsw.add(self.vectors)
    faiss.omp_set_num_threads(1)
    self._indices = {"flat": flat, "HNSW": hnsw}

    @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int64)])
    def user(histories: tf.Tensor) -> tf.Tensor:
      history = History(histories, retriever.categories_of(histories))
      embedding = retriever.scorer.history_embedding(history)
      return parts.user_state(history, embedding)

    self._user = frozen.callable_of(user, retriever.scorer)

  def answers(
    self, number: int, scales: Sequence[int]
  ) -> Iterator[tuple[str, Answer]]:
    """Yields ways to find so many items: exactly, and faster.

    Args:
      number: n.
      scales: efSearch of HNSW, in units of n.
    """
    yield "faiss flat", lambda h: self._find("flat", h, number)
    for scale in scales:
      ef = scale * number

      def by_graph(history: np.ndarray, ef: int = ef) -> np.ndarray:
        self._indices["HNSW"].hnsw.efSearch = ef
        return self._find("HNSW", history, number)

      yield f"faiss HNSW, efSearch {ef}", by_graph

  def _find(self, index: str, history: np.ndarray, number: int) -> np.ndarray:
    user = self._user(history)[0]
    rows: np.ndarray = self._indices[index].search(user, number)[1]
    return rows


def reranked(retriever: Retriever, find: Answer, k: int) -> Answer:
  """Ranks what was found by a neural scorer; the k best remain.

  Args:
    retriever: The scorer, over the same items in the same order.
    find: What finds them.
    k: K.
  """

  @tf.function(
    input_signature=[
      tf.TensorSpec([1, None], tf.int64),
      tf.TensorSpec([None], tf.int32),
    ]
  )
  def rank(histories: tf.Tensor, rows: tf.Tensor) -> Any:
    user_state = retriever.user_state_of(histories)
    scores = retriever.scores_of(user_state, rows)
    best = tf.math.top_k(scores[0], tf.minimum(k, tf.size(rows))).indices
    return tf.gather(rows, best)

  request = frozen.callable_of(rank, retriever.scorer)

  def answer(history: np.ndarray) -> np.ndarray:
    rows = find(history)[0]
    rows = rows[rows >= 0].astype(np.int32)
    found: np.ndarray = request(history, rows)[0]
    return np.pad(found, (0, k - len(found)), constant_values=-1)[None]

  return answer
