"""The passes of one training step and the gradients they leave behind."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from nann.model.layers import Phase
from nann.model.scorer import Items, Scorer


class Passes:
  """The user's part, the items' part, and two passes over the pairs.

  Three tapes: one for the user's part, one for the items' part, one for each
  pair pass. A pair pass ends at the outputs of the parts, where its gradients
  are added up; the parts are then differentiated once.
  """

  def __init__(self, scorer: Scorer, variables: list[tf.Variable]) -> None:
    self._scorer = scorer
    self._variables = variables
    self._user_tape = tf.GradientTape()
    self._item_tape = tf.GradientTape()
    self._gradients: list[Any] = [None] * len(variables)

  def forward(
    self,
    history: Items,
    to_items: Callable[[tf.Tensor], Items],
    candidates: tf.Tensor,
  ) -> None:
    """Computes user states, and embeddings of the distinct candidates."""
    scorer = self._scorer
    self._history = history
    with self._user_tape:
      self._user_state = scorer.user_state(
        history, scorer.history_embedding(history), Phase.TRAIN
      )
    flat = tf.reshape(candidates, [-1])
    distinct, place, counts = tf.unique_with_counts(flat)
    items = to_items(distinct)
    with self._item_tape:
      self._distinct_embedding = scorer.item_embedding(
        items, Phase.TRAIN, tf.cast(counts, tf.float32)
      )
    self._place = place
    self._items = to_items(candidates)
    embedding = tf.gather(self._distinct_embedding, place)
    shape = tf.concat([tf.shape(candidates), [embedding.shape[-1]]], axis=0)
    self.embedding = tf.ensure_shape(
      tf.reshape(embedding, shape), [None, candidates.shape[1], None]
    )  # [B, 1 + N, D]

  def clean_pass(
    self,
    to_logits: Callable[[tf.Tensor], tf.Tensor],
    to_loss: Callable[[tf.Tensor], tf.Tensor],
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Scores the candidates as they are.

    Returns:
      logits [B, 1 + N], loss (scalar), gradient of the embedding [B, 1 + N, D].
    """
    leaves = tf.nest.flatten(self._user_state)
    with tf.GradientTape() as tape:
      tape.watch([self.embedding, *leaves])
      logits = to_logits(self._score(self.embedding, Phase.TRAIN))
      loss = to_loss(logits)
    embedding_gradient, *rest = tape.gradient(
      loss, [self.embedding, *leaves, *self._variables]
    )
    self._embedding_gradient = embedding_gradient
    self._state_gradients = rest[: len(leaves)]
    self._add(rest[len(leaves) :])
    return logits, loss, embedding_gradient

  def perturbed_pass(
    self, embedding: tf.Tensor, to_loss: Callable[[tf.Tensor], tf.Tensor]
  ) -> tf.Tensor:
    """Scores pushed embeddings, which pass on no gradient themselves."""
    leaves = tf.nest.flatten(self._user_state)
    with tf.GradientTape() as tape:
      tape.watch(leaves)
      loss = to_loss(self._score(embedding, Phase.PERTURBED))
    gradients = tape.gradient(loss, [*leaves, *self._variables])
    self._state_gradients = [
      add_gradients(a, b)
      for a, b in zip(
        self._state_gradients, gradients[: len(leaves)], strict=True
      )
    ]
    self._add(gradients[len(leaves) :])
    return loss

  def gradients(self) -> list[Any]:
    """Returns the gradient of each variable, through the parts."""
    leaves = tf.nest.flatten(self._user_state)
    reached = [
      (leaf, gradient)
      for leaf, gradient in zip(leaves, self._state_gradients, strict=True)
      if gradient is not None
    ]
    self._add(
      self._user_tape.gradient(
        [leaf for leaf, _ in reached],
        self._variables,
        output_gradients=[gradient for _, gradient in reached],
      )
    )
    width = self.embedding.shape[-1]
    distinct_gradient = tf.math.unsorted_segment_sum(
      tf.reshape(self._embedding_gradient, [-1, width]),
      self._place,
      tf.shape(self._distinct_embedding)[0],
    )
    self._add(
      self._item_tape.gradient(
        self._distinct_embedding,
        self._variables,
        output_gradients=distinct_gradient,
      )
    )
    return self._gradients

  def _score(self, embedding: tf.Tensor, phase: Phase) -> tf.Tensor:
    item_state = self._scorer.item_state(self._items, embedding)
    return self._scorer.score(self._user_state, item_state, phase)

  def _add(self, gradients: list[Any]) -> None:
    self._gradients = [
      add_gradients(a, b)
      for a, b in zip(self._gradients, gradients, strict=True)
    ]


def add_gradients(a: Any, b: Any) -> Any:
  """Adds gradients: tensors, row gradients of a lookup, or None."""
  if a is None or b is None:
    return b if a is None else a
  if isinstance(a, tf.IndexedSlices) and isinstance(b, tf.IndexedSlices):
    return tf.IndexedSlices(
      tf.concat([a.values, b.values], axis=0),
      tf.concat([a.indices, b.indices], axis=0),
      a.dense_shape,
    )
  return tf.convert_to_tensor(a) + tf.convert_to_tensor(b)
