"""A training step on whole sequences: every position is a target.

For scorers that give the state after each position of a history in one pass
(see `nann_plus`). Position t has the next item as its target; the negatives are
shared by all positions of all replicas, so that a step costs one product of
positions and negatives instead of a network for each pair.
"""

from typing import Any

import tensorflow as tf

from nann.model import adversarial, losses
from nann.model.nann_plus import NannPlusScorer, Noise
from nann.model.passes import add_gradients
from nann.model.trainer import Batch, Trainer

# A target has at least so many items of its window before it.
_MIN_HISTORY = 3


class SequenceTrainer(Trainer):
  """Takes batches of `history` [B, L], `target` [B], `negatives` [B, n].

  The negatives of all rows together are everybody's. With `user_windows` [B]
  rows count as `user_power` says.
  """

  scorer: NannPlusScorer

  def _replica_step(
    self, batch: Batch, step: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    settings, scorer = self._settings, self.scorer
    context = tf.distribute.get_replica_context()
    negatives = _of_all_replicas(tf.reshape(batch["negatives"], [-1]))
    history_ids = batch["history"]
    next_ids = following(history_ids, batch["target"])
    counted = _counted(next_ids)  # [B, L]
    if "user_windows" in batch:
      windows = tf.cast(batch["user_windows"], tf.float32)
      counted *= (windows ** (settings.user_power - 1.0))[:, None]
    total = tf.reduce_sum(counted)
    if context.num_replicas_in_sync > 1:
      total = context.all_reduce(tf.distribute.ReduceOp.SUM, total)
    total = tf.maximum(total, 1e-6)

    noise = Noise(step + settings.seed, settings.dropout, settings.oov_dropout)
    history = self._items(history_ids)
    own, shared = self._items(next_ids), self._items(negatives)
    user_tape, item_tape = tf.GradientTape(), tf.GradientTape()
    with user_tape:
      places = scorer.positions(history, noise)
    with item_tape:
      own_embedding = scorer.candidate_embedding(own, noise)
      shared_embedding = scorer.candidate_embedding(shared, noise)
    log_expected = tf.concat(
      [
        tf.gather(self._log_expected, next_ids)[..., None],
        _everywhere(tf.gather(self._log_expected, negatives), next_ids),
      ],
      axis=-1,
    )
    is_hit = tf.cast(next_ids[..., None] == negatives, tf.float32)
    valid = tf.concat([tf.ones_like(counted)[..., None], 1.0 - is_hit], -1)

    def logits_of(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
      """Returns [B * L, 1 + N] of the embeddings of own and shared items."""
      scores = tf.concat(
        [
          scorer.score_next(places, scorer.candidate_state(own, a, noise))[
            ..., None
          ],
          scorer.score_shared(places, scorer.candidate_state(shared, b, noise)),
        ],
        axis=-1,
      )
      return _flat(losses.correct_logits(scores, log_expected, valid))

    leaves = [places.vector, places.hidden]
    embeddings = [own_embedding, shared_embedding]
    weights = tf.reshape(counted, [-1])

    def gradients_at(moved: list[tf.Tensor]) -> list[tf.Tensor]:
      with tf.GradientTape() as tape:
        tape.watch(moved)
        rows = self._loss(logits_of(*moved), _flat(valid))
        loss = tf.reduce_sum(rows * weights) / total
      found: list[tf.Tensor] = tape.gradient(loss, moved)
      return found

    with tf.GradientTape() as tape:
      tape.watch([*leaves, *embeddings])
      logits = logits_of(*embeddings)
      rows = self._loss(logits, _flat(valid))
      loss_clean = tf.reduce_sum(rows * weights) / total
    gradients = tape.gradient(
      loss_clean, [*leaves, *embeddings, *self._variables]
    )
    on_leaves, on_embeddings = gradients[:2], gradients[2:4]
    sums = gradients[4:]
    loss_adversarial = tf.constant(0.0)
    if settings.adv_eps > 0 and settings.adv_weight > 0:
      pushed = adversarial.perturbed(
        settings.adv_method,
        embeddings,
        on_embeddings,
        gradients_at,
        settings.adv_eps,
        settings.adv_eps_relative,
        noise.seed,
      )
      with tf.GradientTape() as tape:
        tape.watch(leaves)
        rows = self._harm(logits, logits_of(*pushed), _flat(valid))
        loss_adversarial = (
          settings.adv_weight * tf.reduce_sum(rows * weights) / total
        )
      gradients = tape.gradient(loss_adversarial, [*leaves, *self._variables])
      on_leaves = _added(on_leaves, gradients[:2])
      sums = _added(sums, gradients[2:])
    sums = _added(sums, _through(user_tape, leaves, on_leaves, self._variables))
    sums = _added(
      sums, _through(item_tape, embeddings, on_embeddings, self._variables)
    )
    norm = self.optimizer.apply(
      sums, self._variables, step, self._schedule(step)
    )
    best = tf.cast(tf.argmax(logits, axis=1) == 0, tf.float32)
    share = 1.0 / context.num_replicas_in_sync
    return {
      "loss": loss_clean + loss_adversarial,
      "loss_clean": loss_clean,
      "loss_adversarial": loss_adversarial,
      "accuracy": tf.reduce_sum(best * weights) / total,
      "mean_abs_embedding": share * tf.reduce_mean(tf.abs(shared_embedding)),
      "embedding_norm": share
      * tf.reduce_mean(tf.norm(shared_embedding, axis=-1)),
      "gradient_norm": share * norm,
    }


def following(history: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
  """Returns [B, L] int64: the item after each position, 0 for padding.

  Args:
    history: [B, L] int64, padded with 0 at the end.
    target: [B] int64, the item after the history.
  """
  count = tf.reduce_sum(tf.cast(history > 0, tf.int32), axis=1)
  later = tf.concat([history[:, 1:], tf.zeros_like(history[:, :1])], axis=1)
  is_last = tf.range(tf.shape(history)[1]) == count[:, None] - 1
  return tf.where(is_last, target[:, None], later)


def _of_all_replicas(values: tf.Tensor) -> tf.Tensor:
  """Returns [R * n] of values [n], which are as many on each of R replicas.

  A sum, each in its place: `all_gather` fails where replicas are processes.
  """
  context = tf.distribute.get_replica_context()
  number = context.num_replicas_in_sync
  if number == 1:
    return values
  is_own = tf.range(number) == context.replica_id_in_sync_group
  placed = tf.where(is_own[:, None], values, tf.zeros_like(values))
  return tf.reshape(
    context.all_reduce(tf.distribute.ReduceOp.SUM, placed), [-1]
  )


def _counted(next_ids: tf.Tensor) -> tf.Tensor:
  """Returns [B, L] float32: 1 where a position teaches."""
  enough = tf.range(1, tf.shape(next_ids)[1] + 1) >= _MIN_HISTORY
  return tf.cast((next_ids > 0) & enough, tf.float32)


def _everywhere(values: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
  """Returns [B, L, N] of values [N]."""
  shape = tf.concat([tf.shape(like), tf.shape(values)], axis=0)
  return tf.broadcast_to(values, shape)


def _flat(values: tf.Tensor) -> tf.Tensor:
  """Returns [B * L, M] of values [B, L, M]."""
  return tf.reshape(values, [-1, tf.shape(values)[-1]])


def _through(
  tape: tf.GradientTape,
  outputs: list[tf.Tensor],
  output_gradients: list[Any],
  variables: list[tf.Variable],
) -> list[Any]:
  """Returns the variables' gradients behind outputs that a loss reaches."""
  reached = [
    (output, gradient)
    for output, gradient in zip(outputs, output_gradients, strict=True)
    if gradient is not None
  ]
  found: list[Any] = tape.gradient(
    [output for output, _ in reached],
    variables,
    output_gradients=[gradient for _, gradient in reached],
  )
  return found


def _added(a: list[Any], b: list[Any]) -> list[Any]:
  return [add_gradients(x, y) for x, y in zip(a, b, strict=True)]
