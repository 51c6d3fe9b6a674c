"""The embeddings of all items of a catalogue, a block at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from nann.model.layers import Phase
from nann.model.scorer import Items, Scorer

_BATCH_ITEMS = 16384


def embed_all(
  scorer: Scorer,
  category_table: np.ndarray,
  progress: Callable[[int], Any] = lambda items: None,
) -> np.ndarray:
  """Returns [I, D] float32, the embedding of item r + 1 in row r.

  Args:
    scorer: The trained scorer.
    category_table: [I + 1] int32, category by item id.
    progress: Called with the number of items of each block.
  """
  num_items = len(category_table) - 1
  categories = tf.constant(category_table, tf.int64)

  embeddings: np.ndarray | None = None
  for begin in range(1, num_items + 1, _BATCH_ITEMS):
    end = min(begin + _BATCH_ITEMS, num_items + 1)
    item_ids = tf.range(begin, end, dtype=tf.int64)
    items = Items(item_ids, tf.gather(categories, item_ids))
    # Not traced: few operations on many items, and training asks often.
    part = scorer.item_embedding(items, Phase.INFERENCE).numpy()
    if embeddings is None:
      embeddings = np.empty((num_items, part.shape[1]), part.dtype)
    embeddings[begin - 1 : end - 1] = part
    progress(end - begin)
  assert embeddings is not None
  return embeddings
