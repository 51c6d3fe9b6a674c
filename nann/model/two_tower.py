"""The inner product of a user vector and the item embedding."""

import tensorflow as tf

from nann.model import embeddings
from nann.model.layers import Block, Dense, Phase
from nann.model.scorer import History, ScorerSpec


class TwoTowerScorer(embeddings.EmbeddingScorer):
  """What a plain vector index can serve; the baseline of the neural scorers."""

  def __init__(self, spec: ScorerSpec) -> None:
    super().__init__(spec, "two_tower_scorer")
    init, width = self.init, self.width
    self.user_block = Block.create(width, 2 * width, init, "user_1")
    self.user_out = Dense.create(2 * width, width, init, "user_2")

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
