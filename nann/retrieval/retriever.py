"""A trained scorer, its items and their graph, ready to answer.

This is what evaluation measures and what an export freezes: the user's part
runs once for a request, the items' states are computed once for all, and the
search calls only the pair part.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from nann.index.graph import HnswGraph
from nann.model.scorer import History, Items, Scorer
from nann.retrieval import beam_search, reference
from nann.retrieval.result import Policy, SearchResult

_STATE_ROWS = 16384
# The visited table of a batch: [B, I] bool.
_VISITED_BYTES = 64 << 20
_MAX_BATCH = 32

Progress = Callable[[int], None]


@dataclasses.dataclass(frozen=True)
class ItemArrays:
  """The items in the order of the graph's rows.

  Attributes:
    item_ids: [I] int64; row r holds item item_ids[r].
    category_ids: [I] int64.
    embeddings: [I, D] float32.
  """

  item_ids: np.ndarray
  category_ids: np.ndarray
  embeddings: np.ndarray

  def __len__(self) -> int:
    return len(self.item_ids)

  def rows_of(self, item_ids: np.ndarray) -> np.ndarray:
    """Returns int32 rows of item ids of any shape, -1 where there is none."""
    size = max(int(self.item_ids.max()), int(item_ids.max(initial=0))) + 1
    table = np.full(size, -1, dtype=np.int32)
    table[self.item_ids] = np.arange(len(self.item_ids), dtype=np.int32)
    table[0] = -1
    rows: np.ndarray = table[np.maximum(item_ids, 0)]
    return rows


class Retriever:
  """Answers queries by search or by exact scan."""

  def __init__(
    self,
    scorer: Scorer,
    items: ItemArrays,
    graph: HnswGraph | None,
    category_table: np.ndarray,
  ) -> None:
    """Computes the items' states.

    Args:
      scorer: The trained scorer.
      items: All items, in the order of the graph's rows.
      graph: What `search` walks; None if only the exact scan is wanted.
      category_table: [n] int32, category by item id, 0 for unknown ids.

    Raises:
      ValueError: The graph was built for another number of items.
    """
    if graph is not None and graph.num_rows != len(items):
      raise ValueError(
        f"index was built for {graph.num_rows:,} items, embeddings hold"
        f" {len(items):,}; run --job-type build_index again"
      )
    self.items = items
    self._scorer = scorer
    self._parts = scorer.parts()
    self._category_table = tf.constant(category_table, tf.int64)
    self._graph = None if graph is None else reference.graph_tensors(graph)
    self.start_level = graph.start_level if graph else 0
    self._item_state = self._compute_item_state()
    self._search_functions: dict[Any, Any] = {}

  def _compute_item_state(self) -> Any:
    @tf.function(reduce_retracing=True)
    def state(items: Items, embeddings: tf.Tensor) -> Any:
      return self._parts.item_state(items, embeddings)

    parts = []
    for begin in range(0, len(self.items), _STATE_ROWS):
      rows = slice(begin, begin + _STATE_ROWS)
      items = Items(
        tf.constant(self.items.item_ids[rows], tf.int64),
        tf.constant(self.items.category_ids[rows], tf.int64),
      )
      embeddings = tf.constant(self.items.embeddings[rows], tf.float32)
      parts.append(state(items, embeddings))
    return tf.nest.map_structure(lambda *x: tf.concat(x, axis=0), *parts)

  @tf.function(reduce_retracing=True)
  def user_state(self, histories: tf.Tensor) -> Any:
    """Returns the users' state, a nest of [B, *].

    Args:
      histories: [B, L] int64 item ids, oldest first, padded with 0.
    """
    history = History(histories, tf.gather(self._category_table, histories))
    embedding = self._scorer.history_embedding(history)
    return self._parts.user_state(history, embedding)

  @tf.function(reduce_retracing=True)
  def score_rows(
    self, user_state: Any, begin: tf.Tensor, end: tf.Tensor
  ) -> Any:
    """Returns [B, end - begin] float32 scores of a range of rows."""
    items = tf.nest.map_structure(
      lambda state: state[None, begin:end], self._item_state
    )
    return self._parts.score(user_state, items)

  def search(
    self,
    histories: np.ndarray,
    policy: Policy,
    k: int,
    progress: Progress = lambda users: None,
  ) -> Iterator[SearchResult]:
    """Searches the graph for many users, a batch at a time.

    Args:
      histories: [n, L] int64 item ids.
      policy: How to walk; its levels fit the graph.
      k: Results per user.
      progress: Called with the number of users of each batch.
    """
    assert self._graph is not None
    batch_size = max(1, min(_MAX_BATCH, _VISITED_BYTES // len(self.items)))
    run = self._search_function(policy, k)
    for begin in range(0, len(histories), batch_size):
      part = histories[begin : begin + batch_size]
      found = run(tf.constant(part), tf.constant(self._entries(part)))
      progress(len(part))
      yield SearchResult(*(tensor.numpy() for tensor in found))

  def _entries(self, histories: np.ndarray) -> np.ndarray:
    """Returns [B, L] int32 rows of the history, the newest first."""
    return self.items.rows_of(histories[:, ::-1])

  def _search_function(self, policy: Policy, k: int) -> Any:
    if (policy, k) not in self._search_functions:

      @tf.function(
        input_signature=[
          tf.TensorSpec([None, None], tf.int64),
          tf.TensorSpec([None, None], tf.int32),
        ]
      )
      def run(histories: tf.Tensor, entries: tf.Tensor) -> reference.Found:
        assert self._graph is not None
        no_history = tf.reduce_all(entries < 0, axis=1, keepdims=True)
        fallback = tf.where(no_history, self._graph.entry_points[None], -1)
        return beam_search.beam_search(
          self._graph,
          self._parts.score,
          self.user_state(histories),
          self._item_state,
          entries,
          fallback,
          policy,
          k,
        )

      self._search_functions[policy, k] = run
    return self._search_functions[policy, k]
