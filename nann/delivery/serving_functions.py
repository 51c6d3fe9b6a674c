"""What an exported model answers: `retrieve`, `score` and `serving_default`.

Thin: the search is `Retriever.found`; here are its inputs and outputs by the
names and types that clients see.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from nann import ops
from nann.delivery.raw_ids import RawIds, RowNames
from nann.delivery.request_reader import RequestReader
from nann.delivery.signature import Input, Signature
from nann.retrieval import answering, scan, tensors
from nann.retrieval.result import PaperPolicy
from nann.retrieval.retriever import Retriever

RETRIEVE, SCORE, DEFAULT = "retrieve", "score", "serving_default"
_ANY = (None, None)


@dataclasses.dataclass(frozen=True)
class Serving:
  """What a model answers with.

  Attributes:
    retriever: Scorer, items and graphs.
    raw_item_ids: The user's own ids of items,
    row_names: and back.
    raw_category_ids: The user's own ids of categories.
    plan: How queries of `retrieve` are answered.
    paper: How `serving_default` walks; its widths come with the request.
    max_length: L, items of a history that count.
    history_width: H, width of the embedding of an item of a history.
    k: Answers of a query that does not say how many.
    knows_items: Whether ids and categories are those of a catalogue; else the
      only signature is `serving_default`.
  """

  retriever: Retriever
  raw_item_ids: RawIds
  row_names: RowNames
  raw_category_ids: RawIds
  plan: answering.Plan
  paper: PaperPolicy
  max_length: int
  history_width: int
  k: int
  knows_items: bool = True

  @property
  def reads_embeddings_only(self) -> bool:
    """Whether `serving_default` takes embeddings; else it is `retrieve`."""
    return self.retriever.scorer.reads_embeddings_only

  def tensors(self) -> dict[str, tf.Tensor]:
    """Returns the large tensors that are read, by name."""
    return (
      self.retriever.tensors()
      | self.raw_item_ids.tensors()
      | self.row_names.tensors()
      | self.raw_category_ids.tensors()
    )


def signatures(serving: Serving) -> list[Signature]:
  """Returns the signatures of a model; `serving_default` only where it is
  another function than `retrieve`."""
  items, categories = serving.raw_item_ids.dtype, serving.raw_category_ids.dtype

  def nothing(dtype: tf.DType) -> Input:
    return Input(dtype, _ANY, np.zeros((0, 0), dtype.as_numpy_dtype))

  history = {
    "history_item_ids": Input(items, _ANY),
    "history_category_ids": nothing(categories),
  }
  options = {
    "k": Input(tf.int32, (), np.array(serving.k)),
    "allowed_items": nothing(items),
    "excluded_items": nothing(items),
  }
  functions = _Functions(serving)
  found = (
    []
    if not serving.knows_items
    else [
      Signature(RETRIEVE, {**history, **options}, functions.retrieve),
      Signature(
        SCORE, {**history, "item_ids": Input(items, _ANY)}, functions.score
      ),
    ]
  )
  if serving.reads_embeddings_only:
    inputs = {
      "comm_seq": Input(
        tf.float16, (None, serving.max_length * serving.history_width)
      ),
      "level_topn": Input(tf.int32, (serving.paper.num_steps + 1,)),
    }
    found.append(Signature(DEFAULT, inputs, functions.by_embeddings))
  return found


class _Functions:
  """The functions of the signatures."""

  def __init__(self, serving: Serving) -> None:
    self._serving, self._retriever = serving, serving.retriever
    self._reader = RequestReader(
      serving.retriever,
      serving.raw_item_ids,
      serving.raw_category_ids,
      serving.max_length,
    )

  def retrieve(
    self,
    history_item_ids: tf.Tensor,
    history_category_ids: tf.Tensor,
    k: tf.Tensor,
    allowed_items: tf.Tensor,
    excluded_items: tf.Tensor,
  ) -> dict[str, tf.Tensor]:
    """Finds the best items.

    Args:
      history_item_ids: [B, n] ids, oldest first.
      history_category_ids: [B, n] ids, or [0, 0]: the catalogue's.
      k: Scalar int32.
      allowed_items: [B, m] ids of the items that may be returned; [0, 0]: all.
      excluded_items: [B, m] ids of the items that may not be returned.

    Returns:
      item_ids [B, k], scores [B, k] float32, num_scored [B] int32, num_unknown
      [B] int32.
    """
    histories = self._reader.histories(history_item_ids, history_category_ids)
    allowed, denied = self._reader.filters(
      allowed_items, excluded_items, tf.shape(history_item_ids)[0]
    )
    found = _Search(
      self._serving,
      histories.item_ids,
      histories.category_ids,
      k,
      allowed,
      denied,
    ).answers()
    return {
      "item_ids": self._serving.row_names.of_rows(found.rows),
      "scores": found.scores,
      "num_scored": tf.reduce_sum(found.num_scored, axis=1),
      "num_unknown": histories.num_unknown,
    }

  def by_embeddings(
    self, comm_seq: tf.Tensor, level_topn: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """Finds the best items by policy paper.

    Args:
      comm_seq: [B, L * H] float16, the embeddings of a history, one after the
        other; a position of nothing but zeros is padding.
      level_topn: [S + 1] int32: beam width of each step, and k.

    Returns:
      top_k [B, k] ids.
    """
    embedding = tf.reshape(
      tf.cast(comm_seq, tf.float32),
      [tf.shape(comm_seq)[0], -1, self._serving.history_width],
    )
    user_state = self._retriever.parts.user_state(None, embedding)
    widths = level_topn[:-1][::-1]
    hops = tf.constant(self._serving.paper.hops)
    found = self._retriever.found_by_levels(
      user_state, tensors.PolicyTensors(widths, hops, None), level_topn[-1]
    )
    return {"top_k": self._serving.row_names.of_rows(found.rows)}

  def score(
    self,
    history_item_ids: tf.Tensor,
    history_category_ids: tf.Tensor,
    item_ids: tf.Tensor,
  ) -> dict[str, tf.Tensor]:
    """Scores items.

    Args:
      history_item_ids: [B, n] ids, oldest first.
      history_category_ids: [B, n] ids, or [0, 0]: the catalogue's.
      item_ids: [B, m] ids.

    Returns:
      scores [B, m] float32, -inf for items that are not there.
    """
    histories = self._reader.histories(history_item_ids, history_category_ids)
    user_state = self._retriever.user_state_of(
      histories.item_ids, histories.category_ids
    )
    rows = self._reader.rows(item_ids)

    def of_user(parts: Any) -> tf.Tensor:
      user, rows = parts
      user = tf.nest.map_structure(lambda tensor: tensor[None], user)
      return self._retriever.scores_of(user, tf.maximum(rows, 0))[0]

    spec = tf.TensorSpec([None], tf.float32)
    scores = tf.map_fn(of_user, (user_state, rows), fn_output_signature=spec)
    return {"scores": tf.where(rows >= 0, scores, -np.inf)}


@dataclasses.dataclass(frozen=True)
class _Search:
  """A traced request of `retrieve`, answered as the plan says.

  Attributes:
    serving: The model.
    item_ids: [B, L] int64.
    category_ids: [B, L] int64.
    k: Scalar int32.
    allowed: [B, (I + 7) / 8] uint8 bits, or [0, 0]: all.
    denied: [B, X] int32 rows.
  """

  serving: Serving
  item_ids: tf.Tensor
  category_ids: tf.Tensor
  k: tf.Tensor
  allowed: tf.Tensor
  denied: tf.Tensor

  def answers(self) -> ops.Found:
    """Walks or scans; see `answering.uses_scan`."""
    plan = self.serving.plan
    num_rows = len(self.serving.retriever.items)
    if plan.mode == "graph":
      return self._walk()
    if plan.mode == "scan" or plan.cost.prefers_scan(num_rows):
      if plan.exclude_history:
        return self._scan_allowed()
      return _either(self._is_filtered(), self._scan_allowed, self._scan_all)
    bits = tf.raw_ops.PopulationCount(x=self.allowed)
    number = tf.reduce_sum(tf.cast(bits, tf.int32), axis=1)
    largest = int(plan.cost.largest_scan(num_rows) * num_rows)
    # A batch is scanned or walked as a whole.
    is_narrow = tf.reduce_all(number <= largest) & (tf.size(number) > 0)
    return _either(
      is_narrow,
      self._scan_allowed,
      lambda: _with_total(self._walk()),
    )

  def _is_filtered(self) -> tf.Tensor:
    return tf.size(self.allowed) + tf.size(self.denied) > 0

  def _walk(self) -> ops.Found:
    retriever, plan = self.serving.retriever, self.serving.plan
    return retriever.found(
      self.item_ids,
      tensors.policy_tensors(plan.policy),
      self.k,
      retriever.entries,
      self.allowed,
      plan.exclude_history,
      self.denied,
      self._is_filtered(),
      self.category_ids,
    )

  def _scan_all(self) -> ops.Found:
    retriever = self.serving.retriever
    return scan.scan_all(
      retriever.scores_of,
      retriever.user_state_of(self.item_ids, self.category_ids),
      len(retriever.items),
      self.k,
    )

  def _scan_allowed(self) -> ops.Found:
    retriever, denied = self.serving.retriever, self.denied
    if self.serving.plan.exclude_history:
      rows = retriever.rows_of(self.item_ids)
      denied = tf.concat([denied, rows], axis=1)
    return scan.scan_allowed(
      retriever.scores_of,
      retriever.user_state_of(self.item_ids, self.category_ids),
      len(retriever.items),
      self.k,
      self.allowed,
      denied,
    )


def _with_total(found: ops.Found) -> ops.Found:
  """Returns num_scored in one column, as a scan has it."""
  total = tf.reduce_sum(found.num_scored, axis=1, keepdims=True)
  return found._replace(num_scored=total)


def _either(
  condition: tf.Tensor,
  one: Callable[[], ops.Found],
  other: Callable[[], ops.Found],
) -> ops.Found:
  return ops.Found(
    *tf.cond(condition, lambda: tuple(one()), lambda: tuple(other()))
  )
