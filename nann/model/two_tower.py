"""The inner product of a user vector and the item embedding."""

import tensorflow as tf

from nann.model import embeddings, layers
from nann.model.layers import Block, Dense, Phase
from nann.model.scorer import History, Items, Scorer, ScorerSpec


class TwoTowerScorer(Scorer):
  """What a plain vector index can serve; the baseline of the neural scorers."""

  reads_embeddings_only = True

  def __init__(self, spec: ScorerSpec) -> None:
    super().__init__(name="two_tower_scorer")
    init = layers.Initializer(spec.seed)
    width = 2 * spec.emb_dim
    self.mask_padding = spec.mask_padding
    self.tables = embeddings.ItemTables(spec, init)
    self.tower = embeddings.ItemTower(width, init)
    self.user_block = Block.create(width, 2 * width, init, "user_1")
    self.user_out = Dense.create(2 * width, width, init, "user_2")

  def history_embedding(self, history: History) -> tf.Tensor:
    return self.tables(history)

  def item_embedding(
    self, items: Items, phase: Phase, weights: tf.Tensor | None = None
  ) -> tf.Tensor:
    return self.tower(self.tables(items), phase, weights)

  def user_state(
    self, history: History | None, history_embedding: tf.Tensor, phase: Phase
  ) -> tf.Tensor:
    mean = embeddings.mean_of_history(history_embedding, self.mask_padding)
    return self.user_out(self.user_block(mean, phase))

  def score(
    self, user_state: tf.Tensor, item_state: tf.Tensor, phase: Phase
  ) -> tf.Tensor:
    product = tf.matmul(item_state, user_state[:, :, None])  # [B, N, 1]
    return product[..., 0]
