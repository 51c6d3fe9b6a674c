"""Requests in the user's own ids become what a search takes: rows and bits."""

from typing import NamedTuple

import tensorflow as tf

from nann.delivery.raw_ids import RawIds
from nann.retrieval.retriever import Retriever


class Histories(NamedTuple):
  """What is known of some users.

  Attributes:
    item_ids: [B, L] int64, oldest first, padded with 0 at the end.
    category_ids: [B, L] int64.
    num_unknown: [B] int32, items that the model does not know.
  """

  item_ids: tf.Tensor
  category_ids: tf.Tensor
  num_unknown: tf.Tensor


class RequestReader:
  """Reads requests, inside a trace."""

  def __init__(
    self,
    retriever: Retriever,
    item_ids: RawIds,
    category_ids: RawIds,
    max_length: int,
  ) -> None:
    """Takes what ids are looked up in.

    Args:
      retriever: Items and their rows.
      item_ids: The user's own item ids.
      category_ids: The user's own category ids.
      max_length: L, items of a history that count.
    """
    self._retriever = retriever
    self._items, self._categories = item_ids, category_ids
    self._max_length = max_length

  def histories(
    self, ids: tf.Tensor, category_ids: tf.Tensor | None = None
  ) -> Histories:
    """Keeps the last L items that are known.

    Args:
      ids: [B, n], oldest first.
      category_ids: [B, n], or [0, 0]: the catalogue's. Those that are not known
        are the catalogue's, too.
    """
    item_ids = self._items.find(ids)
    is_known = item_ids > 0
    is_unknown = ~(is_known | self._items.is_padding(ids))
    after = tf.cumsum(
      tf.cast(is_known, tf.int32), axis=1, exclusive=True, reverse=True
    )
    is_kept = is_known & (after < self._max_length)
    # What is kept, in order, then padding.
    order = tf.argsort(tf.cast(~is_kept, tf.int32), axis=1, stable=True)
    order = order[:, : self._max_length]
    kept = tf.where(is_kept, item_ids, 0)
    packed = tf.gather(kept, order, batch_dims=1)
    categories = self._retriever.categories_of(packed)
    if category_ids is not None:
      categories = tf.cond(
        tf.size(category_ids) > 0,
        lambda: self._given(category_ids, order, categories),
        lambda: categories,
      )
    num_unknown = tf.reduce_sum(tf.cast(is_unknown, tf.int32), axis=1)
    # Not every scorer can read a history of no position at all.
    missing = [[0, 0], [0, tf.maximum(1 - tf.shape(ids)[1], 0)]]
    return Histories(
      tf.pad(packed, missing), tf.pad(categories, missing), num_unknown
    )

  def _given(
    self, ids: tf.Tensor, order: tf.Tensor, catalogue: tf.Tensor
  ) -> tf.Tensor:
    """Returns [B, L] categories that were given, else the catalogue's."""
    given = tf.gather(self._categories.find(ids), order, batch_dims=1)
    return tf.where((given > 0) & (catalogue > 0), given, catalogue)

  def rows(self, ids: tf.Tensor) -> tf.Tensor:
    """Returns int32 rows of ids of any shape, -1 where there is none."""
    return self._retriever.rows_of(self._items.find(ids))

  def filters(
    self, allowed: tf.Tensor, excluded: tf.Tensor, num_users: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what may be returned.

    Args:
      allowed: [B, m] ids; of size 0: all.
      excluded: [B, m] ids; of size 0: none.
      num_users: B.

    Returns:
      Bits of allowed rows [B, (I + 7) / 8] uint8, [0, 0] for all; excluded rows
      [B, m] int32, padded with -1.
    """

    def nothing() -> tuple[tf.Tensor, tf.Tensor]:
      return tf.zeros([0, 0], tf.uint8), tf.zeros([num_users, 0], tf.int32)

    def something() -> tuple[tf.Tensor, tf.Tensor]:
      all_allowed, none_excluded = nothing()
      return (
        tf.cond(
          tf.size(allowed) > 0,
          lambda: self._bits(self.rows(allowed)),
          lambda: all_allowed,
        ),
        tf.cond(
          tf.size(excluded) > 0,
          lambda: self.rows(excluded),
          lambda: none_excluded,
        ),
      )

    is_filtered = tf.size(allowed) + tf.size(excluded) > 0
    bits, rows = tf.cond(is_filtered, something, nothing)
    return bits, rows

  def _bits(self, rows: tf.Tensor) -> tf.Tensor:
    """Returns [B, (I + 7) / 8] uint8 bits of rows [B, m]."""
    num_bytes = (len(self._retriever.items) + 7) // 8
    shape = tf.shape(rows, out_type=tf.int64)
    users = tf.repeat(tf.range(shape[0]), shape[1])
    flat = tf.cast(tf.reshape(rows, [-1]), tf.int64)
    is_row = flat >= 0
    # Each bit once, so that the sum of a byte's bits is their union.
    keys = tf.boolean_mask(users * num_bytes * 8 + flat, is_row)
    keys, _ = tf.unique(keys)
    bytes_of_keys = tf.scatter_nd(
      (keys // 8)[:, None],
      tf.bitwise.left_shift(tf.ones_like(keys), keys % 8),
      [shape[0] * num_bytes],
    )
    return tf.cast(tf.reshape(bytes_of_keys, [-1, num_bytes]), tf.uint8)
