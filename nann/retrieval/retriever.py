"""A trained scorer, its items and their graphs, ready to answer.

This is what evaluation measures and what an export freezes: the user's part
runs once for a request, the items' states are computed once for all, and the
search calls only the pair part.
"""

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from nann import ops
from nann.index.graph import Index
from nann.model.scorer import History, Items, Scorer
from nann.retrieval import beam_search, inference, reference
from nann.retrieval.items import ItemArrays
from nann.retrieval.lookup import Lookup, rows_in
from nann.retrieval.result import Policy, SearchResult
from nann.retrieval.tensors import (
  PolicyTensors,
  RowsInPlace,
  policy_tensors,
)

_STATE_ROWS = 16384
# The searches of a batch run in parallel, as many as there are processors.
_BATCH_USERS = 64

# By ops and device.
_SEARCH_OPS = {
  ("nann", "cpu"): (beam_search.beam_search, inference.parts),
  ("nann", "gpu"): (beam_search.beam_search_on_gpu, inference.gpu_parts),
  ("stock", "cpu"): (reference.beam_search, inference.stock_parts),
}

Progress = Callable[[int], None]


class Retriever:
  """Answers queries by search; `brute_force` answers by exact scan."""

  def __init__(
    self,
    scorer: Scorer,
    items: ItemArrays,
    index: Index | None,
    category_table: np.ndarray,
    state_dtype: str = "float32",
    entries: np.ndarray | None = None,
    search_ops: str = "nann",
    search_device: str = "cpu",
  ) -> None:
    """Computes the items' states.

    Args:
      scorer: The trained scorer.
      items: All items, in the order of the graph's rows.
      index: What `search` walks; None if only the exact scan is wanted.
      category_table: [n] int32, category by item id, 0 for unknown ids.
      state_dtype: float32, float16 or bfloat16: how the items' states are kept.
      entries: [M] int32 rows where walks of policy best_first begin beside the
        history; None: the medoids of the index.
      search_ops: nann, or stock: without our ops, and slower.
      search_device: cpu, or gpu: where graphs are walked; with nann only.

    Raises:
      ValueError: The index was built for another number of items, or there is
        no GPU to search on.
    """
    if index is not None and index.num_rows != len(items):
      raise ValueError(
        f"index was built for {index.num_rows:,} items, embeddings hold"
        f" {len(items):,}; run --job-type build_index again"
      )
    self.items = items
    self.index = index
    self.scorer = scorer
    self._beam_search, make_parts = _SEARCH_OPS[search_ops, search_device]
    if search_device == "gpu":
      ops.check_gpu()
    if state_dtype == "float16":
      ops.expect_float16()
    self.parts = make_parts(scorer, tf.as_dtype(state_dtype))
    self.state_dtype = state_dtype
    self.category_table = np.asarray(category_table, np.int64)
    self._lookup = Lookup(scorer, items, index, self.category_table)
    self._given_entries = entries
    self.item_state = self._compute_item_state()
    self._search_functions: dict[Any, Any] = {}

  def _compute_item_state(self) -> Any:
    whole: Any = None
    for begin in range(0, len(self.items), _STATE_ROWS):
      rows = slice(begin, begin + _STATE_ROWS)
      items = Items(
        tf.constant(self.items.item_ids[rows], tf.int64),
        tf.constant(self.items.category_ids[rows], tf.int64),
      )
      embeddings = tf.constant(self.items.embeddings[rows], tf.float32)
      part = self.parts.item_state(items, embeddings)
      if whole is None:
        whole = tf.nest.map_structure(
          lambda x: RowsInPlace(len(self.items), x), part
        )
      tf.nest.map_structure(RowsInPlace.add, whole, part)
    return tf.nest.map_structure(RowsInPlace.tensor, whole)

  def with_entries(self, entries: np.ndarray) -> "Retriever":
    """Returns the same retriever with other entries beside the history."""
    other = copy.copy(self)
    other._given_entries = entries
    return other

  @property
  def entries(self) -> np.ndarray:
    """[M] int32 rows where walks begin beside the history."""
    if self._given_entries is not None:
      return self._given_entries
    assert self.index is not None
    return self.index.best_first.entry_points

  @tf.function(reduce_retracing=True)
  def user_state(self, histories: tf.Tensor) -> Any:
    """Returns the users' state, a nest of [B, *].

    Args:
      histories: [B, L] int64 item ids, oldest first, padded with 0.
    """
    return self.user_state_of(histories)

  def user_state_of(
    self, histories: tf.Tensor, category_ids: tf.Tensor | None = None
  ) -> Any:
    """Returns the same inside another trace.

    Args:
      histories: [B, L] int64 item ids.
      category_ids: [B, L] int64, where they are known better than from the
        catalogue.
    """
    if category_ids is None:
      category_ids = self.categories_of(histories)
    history = History(histories, category_ids)
    embedding = self.scorer.history_embedding(history)
    return self.parts.user_state(history, embedding)

  def categories_of(self, item_ids: tf.Tensor) -> tf.Tensor:
    """Returns int64 category ids of item ids of any shape."""
    return tf.gather(self._lookup.categories, item_ids)

  def rows_of(self, item_ids: tf.Tensor) -> tf.Tensor:
    """Returns int32 rows of item ids of any shape, -1 where there is none."""
    return rows_in(self._lookup.row_table, item_ids)

  @tf.function(reduce_retracing=True)
  def score_range(
    self, user_state: Any, begin: tf.Tensor, end: tf.Tensor
  ) -> Any:
    """Returns [B, end - begin] float32 scores of a range of rows."""
    items = tf.nest.map_structure(
      lambda state: state[None, begin:end], self.item_state
    )
    return self.parts.score(user_state, items)

  @tf.function(reduce_retracing=True)
  def score_rows(self, user_state: Any, rows: tf.Tensor) -> Any:
    """Returns [B, n] float32 scores of some rows, [n] int32."""
    return self.scores_of(user_state, rows)

  def scores_of(self, user_state: Any, rows: tf.Tensor) -> tf.Tensor:
    """Returns the same inside another trace."""
    items = tf.nest.map_structure(
      lambda state: tf.gather(state, rows)[None], self.item_state
    )
    return self.parts.score(user_state, items)

  def search(
    self,
    histories: np.ndarray,
    policy: Policy,
    k: int,
    progress: Progress = lambda users: None,
    allowed: np.ndarray | None = None,
    exclude_history: bool = False,
  ) -> Iterator[SearchResult]:
    """Searches the graph for many users, a batch at a time.

    A user without a usable history gets, under policy best_first and without a
    filter, the exact answer for no history, which is the same for all of them.

    Args:
      histories: [n, L] int64 item ids.
      policy: How to walk; its levels fit the graph.
      k: Results per user.
      progress: Called with the number of users of each batch.
      allowed: [n, (I + 7) / 8] uint8, bits of the rows that may be returned
        (np.packbits with bitorder "little"); None: all.
      exclude_history: Return no item of the history.
    """
    parameters = policy_tensors(policy)
    run = self._search_function(
      parameters, allowed is not None, exclude_history
    )
    for begin in range(0, len(histories), _BATCH_USERS):
      part = slice(begin, begin + _BATCH_USERS)
      bits = None if allowed is None else tf.constant(allowed[part], tf.uint8)
      found = run(
        tf.constant(histories[part], tf.int64),
        parameters,
        tf.constant(k),
        tf.constant(self.entries),
        bits,
      )
      progress(len(histories[part]))
      yield SearchResult(*(tensor.numpy() for tensor in found))

  def _search_function(
    self, policy: PolicyTensors, has_allowed: bool, exclude_history: bool
  ) -> Any:
    key = (policy.limits is None, has_allowed, exclude_history)
    if key not in self._search_functions:

      def run(
        histories: tf.Tensor,
        policy: PolicyTensors,
        k: tf.Tensor,
        entries: tf.Tensor,
        allowed: tf.Tensor | None,
      ) -> ops.Found:
        return self.found(
          histories, policy, k, entries, allowed, exclude_history
        )

      self._search_functions[key] = tf.function(run, reduce_retracing=True)
    return self._search_functions[key]

  def found(
    self,
    histories: tf.Tensor,
    policy: PolicyTensors,
    k: tf.Tensor | int,
    entries: tf.Tensor | np.ndarray,
    allowed: tf.Tensor | None = None,
    exclude_history: bool = False,
    denied: tf.Tensor | None = None,
    is_filtered: tf.Tensor | None = None,
    category_ids: tf.Tensor | None = None,
  ) -> ops.Found:
    """Returns the answers in tensors: what `search` traces and exports freeze.

    Args:
      histories: [B, L] int64 item ids.
      policy: How to walk.
      k: Scalar, results per user.
      entries: [M] int32 rows to begin at beside the history.
      allowed: [B, (I + 7) / 8] uint8 bits, or None: all.
      exclude_history: Return no item of the history.
      denied: [B, X] int32 rows that may not be returned, padded with -1.
      is_filtered: Scalar bool, whether `allowed` and `denied` leave anything
        out; None: if they are given.
      category_ids: [B, L] int64 of the histories, or None: the catalogue's.
    """
    user_state = self.user_state_of(histories, category_ids)
    if exclude_history:
      rows = self.rows_of(histories)
      denied = rows if denied is None else tf.concat([denied, rows], axis=1)
    if policy.limits is None:
      return self.found_by_levels(user_state, policy, k, allowed, denied)
    # The newest come first: they are scored if the limit cuts some off.
    expand = rows_in(self._lookup.entry_table, histories)[:, ::-1]
    if exclude_history or (is_filtered is None and _any(allowed, denied)):
      only_score = tf.tile(entries[None], [tf.shape(histories)[0], 1])
      return self._walk(
        user_state, expand, only_score, policy, k, allowed, denied
      )
    knows_answer = tf.reduce_all(expand < 0, axis=1, keepdims=True)
    if is_filtered is not None:
      knows_answer &= ~is_filtered
    only_score = tf.where(knows_answer, -1, entries[None])
    found = self._walk(
      user_state, expand, only_score, policy, k, allowed, denied
    )
    rows, scores = self._first_without_history(k)
    return found._replace(
      rows=tf.where(knows_answer, rows, found.rows),
      scores=tf.where(knows_answer, scores, found.scores),
    )

  def found_by_levels(
    self,
    user_state: Any,
    policy: PolicyTensors,
    k: tf.Tensor | int,
    allowed: tf.Tensor | None = None,
    denied: tf.Tensor | None = None,
  ) -> ops.Found:
    """Returns the answers of policy paper, which needs no history.

    Args:
      user_state: Nest of [B, *], of `user_state` or of the parts.
      policy: Widths and hops.
      k: Scalar, results per user.
      allowed: As for `found`.
      denied: As for `found`.
    """
    num_users = tf.shape(tf.nest.flatten(user_state)[0])[0]
    nothing = tf.zeros([num_users, 0], tf.int32)
    return self._walk(user_state, nothing, nothing, policy, k, allowed, denied)

  def _walk(
    self,
    user_state: Any,
    expand: tf.Tensor,
    only_score: tf.Tensor,
    policy: PolicyTensors,
    k: tf.Tensor | int,
    allowed: tf.Tensor | None,
    denied: tf.Tensor | None,
  ) -> ops.Found:
    is_paper = policy.limits is None
    return self._beam_search(
      self._lookup.hnsw if is_paper else self._lookup.best_first,
      self.parts.score,
      user_state,
      self.item_state,
      expand,
      only_score,
      policy,
      k,
      allowed,
      denied,
    )

  def tensors(self) -> dict[str, tf.Tensor]:
    """Returns the large tensors that its functions read, by name."""
    rows, scores = self._answer_without_history
    found = {"answer_rows": rows, "answer_scores": scores}
    for place, state in enumerate(tf.nest.flatten(self.item_state)):
      found[f"item_state_{place}"] = state
    return found | self._lookup.tensors()

  def _first_without_history(
    self, k: tf.Tensor | int
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns rows and scores [K] for an empty history, padded."""
    rows, scores = self._answer_without_history
    if isinstance(k, int):
      # Once, when the search is traced.
      missing = (0, max(k - rows.shape[0], 0))
      return (
        tf.constant(np.pad(rows.numpy()[:k], missing, constant_values=-1)),
        tf.constant(
          np.pad(scores.numpy()[:k], missing, constant_values=-np.inf)
        ),
      )
    padding = [[0, tf.maximum(k - rows.shape[0], 0)]]
    return (
      tf.pad(rows[:k], padding, constant_values=-1),
      tf.pad(scores[:k], padding, constant_values=-np.inf),
    )

  @functools.cached_property
  def _answer_without_history(self) -> tuple[tf.Tensor, tf.Tensor]:
    """Rows [I] int32 and scores [I] for an empty history, best first."""
    with tf.init_scope():
      user_state = self.user_state(tf.zeros([1, 1], tf.int64))
      number = len(self.items)
      scores = np.concatenate(
        [
          self.score_range(
            user_state,
            tf.constant(begin),
            tf.constant(min(begin + _STATE_ROWS, number)),
          ).numpy()[0]
          for begin in range(0, number, _STATE_ROWS)
        ]
      )
      best = np.lexsort((np.arange(number), -scores)).astype(np.int32)
      return tf.constant(best), tf.constant(scores[best])


def _any(*filters: tf.Tensor | None) -> bool:
  return any(tensor is not None for tensor in filters)
