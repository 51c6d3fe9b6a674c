"""One training step, on one replica or many.

The clean pass gives the loss and its gradient; the gradient of the item
embedding also says where to push it; the adversarial pass scores the pushed
embedding and asks the distribution over the candidates not to move. The user's
and the items' parts run once and are differentiated once: both passes meet
them in one sum of gradients, and no gradient of a gradient is ever taken.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from nann.model import adversarial, losses, optimizer
from nann.model.passes import Passes, side_by_side
from nann.model.scorer import Items, Scorer

# A batch: history [B, L], target [B], negatives [B, N], all int64 item ids;
# and user_windows [B] int64, where it comes from sequences.
Batch = dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class StepSettings:
  """What a training step depends on.

  Attributes:
    loss: Name in `losses.LOSSES`.
    adv_eps: Size of the FGSM step; 0: no adversarial loss.
    adv_eps_relative: adv_eps is in units of mean |e|.
    adv_weight: Weight of the adversarial loss.
    adv_method: One of `adversarial.METHODS`.
    learning_rate: Step size of AdamW.
    lr_schedule: "constant" or "linear".
    weight_decay: Share of a weight lost at each update.
    num_steps: Steps of the whole training.
    warmup_steps: Steps over which the learning rate grows from nearly 0.
    clip_norm: Largest norm of all gradients together; 0: any.
    dropout, oov_dropout: See `nann_plus.Noise`.
    user_power: A user's share of the loss grows with the number of windows to
      this power (`SequenceTrainer` alone).
    shared_negatives: All rows share the negatives, [1, N] in a batch: an
      item's state is then computed once for all rows, and one perturbation of
      it meets them all.
    seed: Seed of that noise.
  """

  loss: str
  adv_eps: float
  adv_eps_relative: bool
  adv_weight: float
  learning_rate: float
  lr_schedule: str
  weight_decay: float
  num_steps: int
  warmup_steps: int = 0
  clip_norm: float = 0.0
  dropout: float = 0.0
  oov_dropout: float = 0.0
  adv_method: str = "fgsm"
  user_power: float = 1.0
  shared_negatives: bool = False
  seed: int = 0


# What a step tells.
RESULTS = (
  "loss",
  "loss_clean",
  "loss_adversarial",
  "accuracy",
  "mean_abs_embedding",
  "embedding_norm",
  "gradient_norm",
)


class Trainer:
  """Holds a scorer, its optimizer and the step function."""

  def __init__(
    self,
    scorer: Scorer,
    strategy: tf.distribute.Strategy,
    settings: StepSettings,
    category_table: np.ndarray,
    log_expected_count: np.ndarray,
  ) -> None:
    """Makes the optimizer's variables in the scope of the strategy.

    Args:
      scorer: Made in the same scope.
      strategy: How the batch is spread over replicas.
      settings: What a step does.
      category_table: [I + 1] int32, category by item id.
      log_expected_count: [I + 1] float32, by item id (see `negatives`).
    """
    self.scorer = scorer
    self._strategy = strategy
    self._settings = settings
    self._loss = losses.LOSSES[settings.loss]
    self._category_table = tf.constant(category_table)
    self._log_expected = tf.constant(log_expected_count)
    self._variables = scorer.all_trainable_variables()
    with strategy.scope():
      self.optimizer = optimizer.LazyAdamW(
        self._variables,
        settings.learning_rate,
        settings.weight_decay,
        scorer.rate_factors(),
        settings.clip_norm,
      )
      # A variable: a time budget may shorten a training that runs.
      self.num_steps = tf.Variable(
        settings.num_steps, trainable=False, dtype=tf.int64, name="num_steps"
      )

  def step(self, batch: Batch, step: tf.Tensor) -> dict[str, tf.Tensor]:
    """Runs a step on a whole batch; its rows are spread over the replicas.

    Args:
      batch: See `Batch`; B is a multiple of the number of replicas.
      step: Scalar int64, number of the step from 0.

    Returns:
      Scalars: RESULTS.
    """
    number = self._strategy.num_replicas_in_sync
    if number > 1:
      shared = ("negatives",) if self._settings.shared_negatives else ()
      shares = {
        name: [values] * number if name in shared else tf.split(values, number)
        for name, values in batch.items()
      }
      batch = self._strategy.experimental_distribute_values_from_function(
        lambda context: {
          name: values[context.replica_id_in_sync_group]
          for name, values in shares.items()
        }
      )
    return dict(self.distributed_step(batch, step))

  @tf.function
  def distributed_step(
    self, batch: Batch, step: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """Runs the same where it is called from, on shares or on a whole batch."""
    results = self._strategy.run(self._replica_step, args=(batch, step))
    return {
      name: self._strategy.reduce("SUM", value, axis=None)
      for name, value in results.items()
    }

  def _schedule(self, step: tf.Tensor) -> tf.Tensor:
    settings = self._settings
    return optimizer.schedule_factor(
      settings.lr_schedule, step, self.num_steps, settings.warmup_steps
    )

  def _harm(
    self, logits: tf.Tensor, logits_perturbed: tf.Tensor, valid: tf.Tensor
  ) -> tf.Tensor:
    """Returns [B]: what a perturbation did to the scores of each row."""
    if self._settings.adv_method == "penalty":
      before = tf.stop_gradient(self._loss(logits, valid))
      return self._loss(logits_perturbed, valid) - before
    return losses.kl_divergence(logits, logits_perturbed)

  def _items(self, item_ids: tf.Tensor) -> Items:
    category_ids = tf.gather(self._category_table, item_ids)
    return Items(item_ids, tf.cast(category_ids, tf.int64))

  def _replica_step(
    self, batch: Batch, step: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    settings = self._settings
    groups = [batch["target"][:, None], batch["negatives"]]
    candidates = side_by_side(groups, tf.shape(batch["target"])[0])
    if not settings.shared_negatives:
      groups = [candidates]  # [B, 1 + N]
    log_expected = tf.gather(self._log_expected, candidates)
    is_hit = tf.cast(candidates == batch["target"][:, None], tf.float32)
    # The positive itself is no hit.
    valid = tf.concat([tf.ones_like(is_hit[:, :1]), 1.0 - is_hit[:, 1:]], 1)
    # Rows of the whole batch, over all replicas.
    num_rows = tf.cast(
      tf.shape(candidates)[0] * self._strategy.num_replicas_in_sync, tf.float32
    )
    parts = Passes(self.scorer, self._variables)
    parts.forward(self._items(batch["history"]), self._items, groups)

    def clean(logits: tf.Tensor) -> tf.Tensor:
      return tf.reduce_sum(self._loss(logits, valid)) / num_rows

    def corrected(scores: tf.Tensor) -> tf.Tensor:
      return losses.correct_logits(scores, log_expected, valid)

    logits, loss_clean, pull = parts.clean_pass(corrected, clean)
    loss_adversarial = tf.constant(0.0)
    if settings.adv_eps > 0 and settings.adv_weight > 0:
      perturbed = adversarial.perturbed(
        settings.adv_method,
        parts.embeddings,
        pull,
        lambda moved: parts.gradients_at(moved, corrected, clean),
        settings.adv_eps,
        settings.adv_eps_relative,
        step + settings.seed,
      )

      def divergence(logits_perturbed: tf.Tensor) -> tf.Tensor:
        rows = self._harm(logits, corrected(logits_perturbed), valid)
        return settings.adv_weight * tf.reduce_sum(rows) / num_rows

      loss_adversarial = parts.perturbed_pass(perturbed, divergence)
    gradients = parts.gradients()
    norm = self.optimizer.apply(
      gradients, self._variables, step, self._schedule(step)
    )
    best = tf.cast(tf.argmax(logits, axis=1) == 0, tf.float32)
    share = 1.0 / self._strategy.num_replicas_in_sync
    return {
      "loss": loss_clean + loss_adversarial,
      "loss_clean": loss_clean,
      "loss_adversarial": loss_adversarial,
      "accuracy": tf.reduce_sum(best) / num_rows,
      "mean_abs_embedding": share
      * tf.reduce_mean(tf.abs(parts.embeddings[-1])),
      "embedding_norm": share
      * tf.reduce_mean(tf.norm(parts.embeddings[-1], axis=-1)),
      "gradient_norm": share * norm,
    }
