"""Requests of real users with the answers of the retriever in this process."""

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from nann.delivery.serving_functions import Serving
from nann.delivery.verify import Case
from nann.model.scorer import Items
from nann.retrieval import answering, tensors
from nann.retrieval import result as results

# As many as a batch of the retriever, so that rounding is the same.
_BATCH = 64
_SINGLE, _EMBEDDING_USERS, _SCORED_ITEMS = 20, 16, 50

# Item ids of any shape -> the user's own; 0 -> padding.
ToRaw = Callable[[np.ndarray], np.ndarray]


def cases(serving: Serving, histories: np.ndarray, to_raw: ToRaw) -> list[Case]:
  """Returns requests of all signatures.

  Args:
    serving: The model.
    histories: [n, L] int64 item ids.
    to_raw: Turns item ids into the user's own.
  """
  batches = [histories[user : user + 1] for user in range(_SINGLE)]
  batches += [
    histories[begin : begin + _BATCH]
    for begin in range(_SINGLE, len(histories), _BATCH)
  ]
  found = []
  for batch in batches:
    if len(batch):
      found.append(_retrieve(serving, batch, to_raw))
  found += _score(serving, histories[:3], to_raw)
  if serving.reads_embeddings_only:
    found += list(_by_embeddings(serving, histories, to_raw))
  return found


def _to_ids(serving: Serving, rows: np.ndarray, to_raw: ToRaw) -> np.ndarray:
  item_ids = serving.retriever.items.item_ids
  return to_raw(np.where(rows >= 0, item_ids[np.maximum(rows, 0)], 0))


def _retrieve(serving: Serving, batch: np.ndarray, to_raw: ToRaw) -> Case:
  answers = results.concatenate(
    list(answering.answer(serving.retriever, serving.plan, batch, serving.k))
  )
  return Case(
    "retrieve",
    {"history_item_ids": to_raw(batch)},
    {
      "item_ids": _to_ids(serving, answers.rows, to_raw),
      "scores": answers.scores,
      "num_scored": answers.total_scored.astype(np.int32),
      "num_unknown": np.zeros(len(batch), np.int32),
    },
    answers.scores,
  )


def _score(
  serving: Serving, histories: np.ndarray, to_raw: ToRaw
) -> Iterator[Case]:
  rows = np.arange(min(_SCORED_ITEMS, len(serving.retriever.items)))
  item_ids = _to_ids(serving, rows.astype(np.int32), to_raw)
  for history in histories:
    user_state = serving.retriever.user_state(tf.constant(history[None]))
    scores = serving.retriever.score_rows(
      user_state, tf.constant(rows, tf.int32)
    )
    yield Case(
      "score",
      {"history_item_ids": to_raw(history[None]), "item_ids": item_ids[None]},
      {"scores": scores.numpy()},
    )


def _by_embeddings(
  serving: Serving, histories: np.ndarray, to_raw: ToRaw
) -> Iterator[Case]:
  retriever, paper = serving.retriever, serving.paper
  # In a graph, as exported: a search for a GPU wants one.
  search = tf.function(retriever.found_by_levels)
  policy = tensors.policy_tensors(paper)
  k = min(serving.k, len(retriever.items))
  widths = [
    width
    for width, hops in zip(paper.widths, paper.hops, strict=True)
    for _ in range(hops)
  ]
  for history in [*histories[:_EMBEDDING_USERS], np.zeros_like(histories[0])]:
    items = Items(
      tf.constant(history[None]),
      tf.constant(retriever.category_table[history[None]]),
    )
    embedding = retriever.scorer.history_embedding(items).numpy()
    comm_seq = embedding.astype(np.float16)
    user_state = retriever.parts.user_state(
      None, tf.constant(comm_seq, tf.float32)
    )
    found = search(user_state, policy, k)
    yield Case(
      "serving_default",
      {
        "comm_seq": comm_seq.reshape(1, -1),
        "level_topn": np.array([*widths[::-1], k], np.int32),
      },
      {"top_k": _to_ids(serving, found.rows.numpy(), to_raw)},
      found.scores.numpy(),
    )
