"""The settings of the scorer and of its training.

`nann.config` puts them together with the other groups.
"""

import dataclasses

from nann.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class ScorerSettings(Settings):
  """Which network says how much a user likes an item."""

  scorer: str = setting(
    "nann_plus",
    "nann_plus (sequence, counting and repetition), attention (the original's"
    " network), dnn (without attention), two_tower (inner product), or your own"
    " as package.module:Class.",
    nonempty=True,
  )
  emb_dim: int = setting(
    32,
    "Width of the item and of the category embedding; nann_plus: half the width"
    " of the item embedding.",
    minimum=1,
  )
  mask_padding: bool = setting(
    True,
    "Leave padding out of the attention. The original does not"
    " (--nomask-padding).",
  )
  encoder: bool = setting(
    True, "nann_plus: encode the history as a sequence, not as a mean."
  )
  fism: bool = setting(
    True, "nann_plus: add the sum of the history's factors times the item's."
  )
  attention_term: bool = setting(
    True, "nann_plus: let the item choose whom of the history it listens to."
  )
  repeats: bool = setting(
    True, "nann_plus: see whether the history holds the item or its category."
  )
  neighbors: bool = setting(
    True,
    "nann_plus: add what stands near the history's items in the sequences of"
    " training users; how much, validation users say.",
  )
  neighbors_weight: float = setting(
    2.0,
    "nann_plus: how much, where no validation users say it (--num-validations"
    " 0, or too many items to score all).",
    minimum=0.0,
  )
  warm_start: bool = setting(
    True,
    "nann_plus: begin with factors of the users x items matrix, not at random.",
  )


@dataclasses.dataclass(frozen=True)
class TrainSettings(Settings):
  """How the scorer is trained."""

  batch_size: int = setting(800, "Positives a step and replica.", minimum=1)
  train_epochs: int = setting(5, "Passes over the training windows.", minimum=1)
  max_train_steps: int = setting(
    0, "Stop after so many steps; 0: after the epochs.", minimum=0
  )
  num_neg: int = setting(200, "N: negatives for each positive.", minimum=1)
  shared_negatives: bool = setting(
    False,
    "Draw the negatives once for all positives of a step: less work for each"
    " pair, another estimate of the same loss. nann_plus always does.",
  )
  neg_alpha: float = setting(
    1.0,
    "Negatives are drawn with probability proportional to count^alpha.",
    minimum=0.0,
  )
  loss: str = setting(
    "softmax",
    "softmax: sampled softmax; sigmoid: the original's cross entropy of each"
    " pair.",
    choices=("softmax", "sigmoid"),
  )
  adv_eps: float = setting(
    3e-5,
    "eps of the FGSM step on the item embedding; 0 turns the adversarial loss"
    " off, as nann_plus does where nothing is given (docs/adversarial.md).",
    minimum=0.0,
  )
  adv_eps_relative: bool = setting(
    False, "Read --adv-eps in units of mean |e|, so that it does not weaken."
  )
  adv_method: str = setting(
    "fgsm",
    "fgsm: the paper's; random_sign: as far at random; pgd: three smaller"
    " steps; penalty: fgsm, the loss there instead of the divergence.",
    choices=("fgsm", "random_sign", "pgd", "penalty"),
  )
  adv_weight: float = setting(
    1.0, "Weight of the adversarial loss.", minimum=0.0
  )
  learning_rate: float = setting(3e-3, "Step size of AdamW.", above=0.0)
  lr_schedule: str = setting(
    "linear",
    "linear: down to a hundredth at the last step; constant: the original's.",
    choices=("constant", "linear"),
  )
  weight_decay: float = setting(
    1e-4,
    "Share of a weight that is taken away at each update of it, independent of"
    " the learning rate (as in the original).",
    minimum=0.0,
    maximum=1.0,
  )
  num_replicas: int = setting(
    0,
    "Replicas of MirroredStrategy. 0: all GPUs, or one replica on the CPU; on"
    " a machine without GPU more than one makes logical CPU devices.",
    minimum=0,
  )
  sequence_batch: int = setting(
    64, "nann_plus: sequences a step and replica.", minimum=1
  )
  sequence_negatives: int = setting(
    1000, "nann_plus: negatives of a step, shared by all positions.", minimum=1
  )
  user_power: float = setting(
    0.5,
    "nann_plus: a user's share of the loss grows with the number of windows to"
    " this power. 1: every window counts alike, and few users with much to say"
    " speak for all; 0: every user alike.",
    minimum=0.0,
    maximum=1.0,
  )
  dropout: float = setting(
    0.1, "nann_plus: share of units dropped.", minimum=0.0, maximum=0.9
  )
  oov_dropout: float = setting(
    0.15,
    "nann_plus: share of items whose identity is hidden for a step, so that"
    " items never seen in training find a sensible embedding.",
    minimum=0.0,
    maximum=0.9,
  )
  warmup_steps: int = setting(
    50, "Steps over which the learning rate grows from nearly 0.", minimum=0
  )
  clip_norm: float = setting(
    1.0,
    "Scale all gradients down together where their norm is above this; 0:"
    " never.",
    minimum=0.0,
  )
  time_budget: float = setting(
    0.0,
    "Minutes that the steps may take; the learning rate's schedule is fitted to"
    " it. 0: no limit.",
    minimum=0.0,
  )
  num_validations: int = setting(
    5,
    "How often recall on validation users is measured; the best weights are"
    " kept. 0: never, and the last weights are kept.",
    minimum=0,
  )
  train_on_validation: bool = setting(
    False,
    "Train on the validation users too, and validate nothing: the last"
    " training, after --max-train-steps and --neighbors-weight were chosen on"
    " them.",
  )
  patience: int = setting(
    0,
    "Stop after so many validations in a row without a better one; 0: never.",
    minimum=0,
  )
  print_freq: int = setting(50, "Steps between progress lines.", minimum=1)
  save_freq: int = setting(5000, "Steps between checkpoints.", minimum=1)
  init_from: str = setting(
    "",
    "Start from this checkpoint (a folder or prefix; ours or the original's"
    " TensorFlow 1 checkpoint) instead of random weights.",
  )
