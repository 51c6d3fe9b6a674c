"""Merges what shards of the items answer. Knows arrays only."""

from collections.abc import Mapping, Sequence

import numpy as np

Arrays = Mapping[str, np.ndarray]

NUM_SHARDS = "num_shards"


def best_of(answers: Sequence[Arrays]) -> dict[str, np.ndarray]:
  """Returns the best items of all shards: by score, ties by shard and place.

  Args:
    answers: Of each shard that answered: item_ids [B, K], scores [B, K]
      float32, best first, -inf where there is no item; num_scored, num_unknown
      [B].

  Returns:
    The same, and num_shards [B] int32.
  """
  scores = np.concatenate([answer["scores"] for answer in answers], axis=1)
  item_ids = np.concatenate([answer["item_ids"] for answer in answers], axis=1)
  k = answers[0]["scores"].shape[1]
  order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
  return {
    "item_ids": np.take_along_axis(item_ids, order, axis=1),
    "scores": np.take_along_axis(scores, order, axis=1),
    "num_scored": _stacked(answers, "num_scored").sum(axis=0, dtype=np.int32),
    # All shards know the ids of all items.
    "num_unknown": answers[0]["num_unknown"],
    NUM_SHARDS: _number(answers),
  }


def scores_of(answers: Sequence[Arrays]) -> dict[str, np.ndarray]:
  """Returns scores [B, m]: each item has one in its own shard, else -inf."""
  scores = _stacked(answers, "scores").max(axis=0)
  return {"scores": scores, NUM_SHARDS: _number(answers)}


def _stacked(answers: Sequence[Arrays], name: str) -> np.ndarray:
  return np.stack([answer[name] for answer in answers])


def _number(answers: Sequence[Arrays]) -> np.ndarray:
  """Returns [B] int32, how many shards answered."""
  return np.full(len(answers[0]["scores"]), len(answers), dtype=np.int32)
