"""What an exported model answers: `retrieve`, `score` and `serving_default`.

Thin: the search is `Retriever.found`; here are its inputs and outputs by the
names and types that clients see.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from nann.delivery.planned_search import PlannedSearch
from nann.delivery.raw_ids import RawIds, RowNames
from nann.delivery.request_reader import RequestReader
from nann.delivery.signature import Input, Signature
from nann.retrieval import answering, tensors
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
    found = PlannedSearch(
      self._retriever,
      self._serving.plan,
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
