"""A scorer without attention: mean of the history and item, then an MLP."""

import tensorflow as tf

from nann.model import embeddings
from nann.model.layers import PairMlp, Phase
from nann.model.scorer import (
  History,
  Items,
  ScorerSpec,
  ScoringParts,
  mlp_network,
)

_MLP = (128, 64, 32)


class DnnScorer(embeddings.EmbeddingScorer):
  """The first MLP layer splits into a user half and an item half."""

  def __init__(self, spec: ScorerSpec) -> None:
    super().__init__(spec, "dnn_scorer")
    init, width = self.init, self.width
    self.mlp = PairMlp.create(width, width, _MLP, init)

  def item_state(
    self, items: Items | None, item_embedding: tf.Tensor
  ) -> tf.Tensor:
    return self.mlp.item_part(item_embedding)

  def user_state(
    self, history: History | None, history_embedding: tf.Tensor, phase: Phase
  ) -> tf.Tensor:
    return self._user_state(self.mlp, history_embedding)

  def score(
    self, user_state: tf.Tensor, item_state: tf.Tensor, phase: Phase
  ) -> tf.Tensor:
    return self.mlp(user_state[:, None] + item_state, phase)

  def parts(self) -> ScoringParts:
    mlp = self.mlp.folded()
    return ScoringParts(
      item_state=lambda items, embedding: mlp.item_part(embedding),
      user_state=lambda history, embedding: self._user_state(mlp, embedding),
      score=lambda user, items: mlp(user[:, None] + items, Phase.INFERENCE),
      network=mlp_network(
        mlp,
        user=lambda state: (None, None, None, state),
        items=lambda state: (None, state),
      ),
    )

  def _user_state(
    self, mlp: PairMlp, history_embedding: tf.Tensor
  ) -> tf.Tensor:
    mean = embeddings.mean_of_history(history_embedding, self.mask_padding)
    return mlp.user_part(mean)
