"""Your own scorer, made of Keras layers.

Use it from the repository root:

  python main.py --job-type train --scorer examples.keras_scorer:KerasScorer

The parts say what belongs to the user, what to the item and what to the pair;
training, index, search and evaluation need no more.
"""

import keras
import tensorflow as tf

from nann.model.layers import Phase
from nann.model.scorer import History, Items, Scorer, ScorerSpec


class KerasScorer(Scorer):
  """A GRU reads the history; a small network compares it with the item."""

  reads_embeddings_only = True

  def __init__(self, spec: ScorerSpec) -> None:
    super().__init__(name="keras_scorer")
    keras.utils.set_random_seed(spec.seed)
    width = spec.emb_dim
    self.item_table = keras.layers.Embedding(spec.num_items + 1, width)
    self.category_table = keras.layers.Embedding(spec.num_categories + 1, width)
    self.item_dense = keras.layers.Dense(width)
    self.gru = keras.layers.GRU(width)
    self.compare = keras.layers.Dense(2 * width, activation="gelu")
    self.out = keras.layers.Dense(1, use_bias=False)
    # Keras makes variables at the first call: make them all now.
    ones = tf.ones([1, 1], tf.int64)
    embedding = self.history_embedding(Items(ones, ones))
    user = self.user_state(None, embedding, Phase.INFERENCE)
    item = self.item_embedding(Items(ones, ones), Phase.INFERENCE)
    self.score(user, item, Phase.INFERENCE)

  def history_embedding(self, history: History) -> tf.Tensor:
    both = [
      self.item_table(history.item_ids),
      self.category_table(history.category_ids),
    ]
    mask = tf.cast(history.item_ids > 0, tf.float32)
    return tf.concat(both, axis=-1) * mask[..., None]

  def item_embedding(
    self, items: Items, phase: Phase, weights: tf.Tensor | None = None
  ) -> tf.Tensor:
    return self.item_dense(
      self.item_table(items.item_ids) + self.category_table(items.category_ids)
    )

  def user_state(
    self, history: History | None, history_embedding: tf.Tensor, phase: Phase
  ) -> tf.Tensor:
    mask = tf.reduce_any(history_embedding != 0, axis=-1)
    # Keras' GRU wants at least one step that is not masked.
    first = tf.range(tf.shape(mask)[1])[None] == 0
    return self.gru(history_embedding, mask=mask | first)

  def score(
    self, user_state: tf.Tensor, item_state: tf.Tensor, phase: Phase
  ) -> tf.Tensor:
    user = user_state[:, None] + tf.zeros_like(item_state)
    item = item_state + tf.zeros_like(user)
    pair = tf.concat([user * item, item], axis=-1)
    return self.out(self.compare(pair))[..., 0]
