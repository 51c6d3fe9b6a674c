"""The passes of one training step and the gradients they leave behind."""

from collections.abc import Callable, Sequence
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
    candidates: list[tf.Tensor],
  ) -> None:
    """Computes user states, and embeddings of the distinct candidates.

    Args:
      history: Items [B, L].
      to_items: Item ids to items.
      candidates: Groups of item ids, [B, n], or [1, n] where all rows share
        them; side by side they are the candidates [B, 1 + N].
    """
    scorer = self._scorer
    self._history = history
    with self._user_tape:
      self._user_state = scorer.user_state(
        history, scorer.history_embedding(history), Phase.TRAIN
      )
    flat = [tf.reshape(group, [-1]) for group in candidates]
    distinct, place = tf.unique(tf.concat(flat, axis=0))
    number = tf.shape(history.item_ids)[0]
    # A shared candidate is one of every row.
    weights = [
      tf.ones_like(group, tf.float32)
      * tf.cast(number // tf.shape(candidates[i])[0], tf.float32)
      for i, group in enumerate(flat)
    ]
    counts = tf.math.unsorted_segment_sum(
      tf.concat(weights, axis=0), place, tf.size(distinct)
    )
    items = to_items(distinct)
    with self._item_tape:
      self._distinct_embedding = scorer.item_embedding(
        items, Phase.TRAIN, counts
      )
    self._place = place
    self._items = [to_items(group) for group in candidates]
    places = tf.split(place, [tf.size(group) for group in flat])
    self.embeddings = [
      self._embedding_of(group, place)
      for group, place in zip(candidates, places, strict=True)
    ]  # Each [B or 1, n, D].

  def clean_pass(
    self,
    to_logits: Callable[[tf.Tensor], tf.Tensor],
    to_loss: Callable[[tf.Tensor], tf.Tensor],
  ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Scores the candidates as they are.

    Returns:
      logits [B, 1 + N], loss (scalar), gradients of the embeddings.
    """
    leaves = tf.nest.flatten(self._user_state)
    with tf.GradientTape() as tape:
      tape.watch([*self.embeddings, *leaves])
      logits = to_logits(self._score(self.embeddings, Phase.TRAIN))
      loss = to_loss(logits)
    found = tape.gradient(loss, [*self.embeddings, *leaves, *self._variables])
    number = len(self.embeddings)
    self._embedding_gradients, rest = found[:number], found[number:]
    self._state_gradients = rest[: len(leaves)]
    self._add(rest[len(leaves) :])
    return logits, loss, self._embedding_gradients

  def gradients_at(
    self,
    embeddings: list[tf.Tensor],
    to_logits: Callable[[tf.Tensor], tf.Tensor],
    to_loss: Callable[[tf.Tensor], tf.Tensor],
  ) -> list[tf.Tensor]:
    """Returns the loss's gradients at other embeddings, for nothing else."""
    with tf.GradientTape() as tape:
      tape.watch(embeddings)
      loss = to_loss(to_logits(self._score(embeddings, Phase.PERTURBED)))
    found: list[tf.Tensor] = tape.gradient(loss, embeddings)
    return found

  def perturbed_pass(
    self,
    embeddings: list[tf.Tensor],
    to_loss: Callable[[tf.Tensor], tf.Tensor],
  ) -> tf.Tensor:
    """Scores pushed embeddings, which pass on no gradient themselves."""
    leaves = tf.nest.flatten(self._user_state)
    # When the clean pass is done, so that its tensors are gone by then.
    done = [
      x for x in (*self._gradients, *self._state_gradients) if x is not None
    ]
    with tf.control_dependencies(
      [x.values if isinstance(x, tf.IndexedSlices) else x for x in done]
    ):
      embeddings = [tf.identity(embedding) for embedding in embeddings]
    with tf.GradientTape() as tape:
      tape.watch(leaves)
      loss = to_loss(self._score(embeddings, Phase.PERTURBED))
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
    width = self.embeddings[0].shape[-1]
    distinct_gradient = tf.math.unsorted_segment_sum(
      tf.concat(
        [tf.reshape(x, [-1, width]) for x in self._embedding_gradients], 0
      ),
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

  def _embedding_of(self, group: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    embedding = tf.gather(self._distinct_embedding, place)
    shape = tf.concat([tf.shape(group), [embedding.shape[-1]]], axis=0)
    return tf.ensure_shape(
      tf.reshape(embedding, shape), [None, group.shape[1], None]
    )

  def _score(self, embeddings: list[tf.Tensor], phase: Phase) -> tf.Tensor:
    states = [
      self._scorer.item_state(items, embedding)
      for items, embedding in zip(self._items, embeddings, strict=True)
    ]
    number = tf.shape(self._history.item_ids)[0]
    item_state = tf.nest.map_structure(
      lambda *parts: side_by_side(parts, number), *states
    )
    return self._scorer.score(self._user_state, item_state, phase)

  def _add(self, gradients: list[Any]) -> None:
    self._gradients = [
      add_gradients(a, b)
      for a, b in zip(self._gradients, gradients, strict=True)
    ]


def side_by_side(parts: Sequence[tf.Tensor], number: tf.Tensor) -> tf.Tensor:
  """Returns [B, sum of n, *] of parts [B or 1, n, *].

  Args:
    parts: What goes side by side; a single one is returned as it is.
    number: Scalar int32, B.
  """
  if len(parts) == 1:
    return parts[0]
  whole = [
    tf.ensure_shape(
      tf.broadcast_to(part, tf.concat([[number], tf.shape(part)[1:]], axis=0)),
      [None, *part.shape[1:]],
    )
    for part in parts
  ]
  return tf.concat(whole, axis=1)


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
