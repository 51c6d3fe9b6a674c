"""Item and category embeddings, shared by the scorers of the zoo."""

import tensorflow as tf

from nann.model import layers
from nann.model.scorer import History, Items, Scorer, ScorerSpec
from nann.model.tables import rows_of


class ItemTables(tf.Module):
  """Two tables, looked up together: [item embedding; category embedding]."""

  def __init__(self, spec: ScorerSpec, init: layers.Initializer) -> None:
    super().__init__(name="tables")
    stddev = spec.emb_dim**-0.5

    def table(num_ids: int, name: str) -> tf.Variable:
      # Row 0 stands for padding; it is masked, whatever it holds.
      initial = init.truncated_normal([num_ids + 1, spec.emb_dim], stddev)
      return tf.Variable(initial, name=name)

    self.item = table(spec.num_items, "ht_item")
    self.category = table(spec.num_categories, "ht_cate")

  def __call__(self, items: Items) -> tf.Tensor:
    """Returns [..., 2 * emb_dim] float32, zero for padding."""
    return tf.concat(
      [
        _lookup(self.item, items.item_ids),
        _lookup(self.category, items.category_ids),
      ],
      axis=-1,
    )


def _lookup(table: tf.Variable, ids: tf.Tensor) -> tf.Tensor:
  mask = tf.cast(ids > 0, tf.float32)
  return rows_of(table, ids) * mask[..., None]


class ItemTower(tf.Module):
  """The original's item tower: two blocks and a dense layer."""

  def __init__(self, width: int, init: layers.Initializer) -> None:
    super().__init__(name="item_tower")
    self.blocks = [
      layers.Block.create(width, width, init, "dnn_item_1"),
      layers.Block.create(width, width, init, "dnn_item_2"),
    ]
    self.out = layers.Dense.create(width, width, init, "dnn_item_3")

  def __call__(
    self, x: tf.Tensor, phase: layers.Phase, weights: tf.Tensor | None
  ) -> tf.Tensor:
    for block in self.blocks:
      x = block(x, phase, weights)
    return self.out(x)


class EmbeddingScorer(Scorer):
  """Base of the zoo: tables for the history, tables and a tower for items.

  Attributes:
    width: D, width of both embeddings.
    init: Where a subclass takes its initial weights from.
  """

  reads_embeddings_only = True

  def __init__(self, spec: ScorerSpec, name: str) -> None:
    super().__init__(name=name)
    self.init = layers.Initializer(spec.seed)
    self.width = 2 * spec.emb_dim
    self.mask_padding = spec.mask_padding
    self.tables = ItemTables(spec, self.init)
    self.tower = ItemTower(self.width, self.init)

  def history_embedding(self, history: History) -> tf.Tensor:
    return self.tables(history)

  def item_embedding(
    self, items: Items, phase: layers.Phase, weights: tf.Tensor | None = None
  ) -> tf.Tensor:
    return self.tower(self.tables(items), phase, weights)


def valid_positions(history_embedding: tf.Tensor) -> tf.Tensor:
  """Returns [B, L] float32: 0 where a position's embedding is all zero."""
  return tf.cast(tf.reduce_any(history_embedding != 0, axis=-1), tf.float32)


def mean_of_history(
  history_embedding: tf.Tensor, mask_padding: bool
) -> tf.Tensor:
  """Returns [B, H] float32, the mean over positions; 0 without any."""
  if not mask_padding:
    return tf.reduce_mean(history_embedding, axis=1)
  number = tf.reduce_sum(valid_positions(history_embedding), 1, keepdims=True)
  return tf.reduce_sum(history_embedding, axis=1) / tf.maximum(number, 1.0)


def longest(valid: tf.Tensor) -> tf.Tensor:
  """Returns how many positions the longest history takes, at least 1.

  Args:
    valid: [B, L] float32, 0 where a position is padding.
  """
  places = tf.range(1, tf.shape(valid)[1] + 1)
  return tf.maximum(tf.reduce_max(tf.cast(valid, tf.int32) * places), 1)
