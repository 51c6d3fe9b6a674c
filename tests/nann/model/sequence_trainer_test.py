import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nann.model import losses, sequence_trainer, trainer
from nann.model.nann_plus import NannPlusScorer
from nann.model.scorer import Items, ScorerSpec
from tests.conftest import run_python
from tests.nann.model import trainer_test
from tests.nann.model.trainer_test import (
  CATEGORIES,
  LOG_EXPECTED,
  NUM_CATEGORIES,
  NUM_ITEMS,
)

SPEC = ScorerSpec(NUM_ITEMS, NUM_CATEGORIES, emb_dim=4, seed=1, max_length=6)


def make(**changed: Any) -> sequence_trainer.SequenceTrainer:
  return sequence_trainer.SequenceTrainer(
    NannPlusScorer(SPEC),
    tf.distribute.get_strategy(),
    trainer_test.settings(**changed),
    CATEGORIES,
    LOG_EXPECTED,
  )


def to_items(item_ids: tf.Tensor) -> Items:
  return Items(item_ids, tf.cast(tf.gather(CATEGORIES, item_ids), tf.int64))


def first_step(made: trainer.Trainer, data: trainer.Batch) -> dict[str, float]:
  results = made.step(data, tf.constant(0, tf.int64))
  return {name: float(value) for name, value in results.items()}


def test_next_item_of_each_position() -> None:
  history = tf.constant([[5, 6, 7, 0], [1, 2, 3, 4], [0, 0, 0, 0]], tf.int64)
  found = sequence_trainer.following(history, tf.constant([8, 9, 3], tf.int64))
  np.testing.assert_array_equal(
    found, [[6, 7, 8, 0], [2, 3, 4, 9], [0, 0, 0, 0]]
  )


@pytest.mark.parametrize("adv_eps", [0.0, 0.05])
def test_loss_and_gradient_are_those_of_the_windows(adv_eps: float) -> None:
  """Every position as a window of its own, scored as the search scores."""
  made = make(adv_eps=adv_eps)
  scorer = NannPlusScorer(SPEC)
  data = trainer_test.batch()
  next_ids = sequence_trainer.following(data["history"], data["target"]).numpy()
  negatives = data["negatives"].numpy().ravel()

  def clean_loss() -> tf.Tensor:
    rows = []
    for user, history in enumerate(data["history"].numpy()):
      for place in range(2, 6):
        target = next_ids[user, place]
        if not target:
          continue
        begin = tf.constant([np.where(np.arange(6) <= place, history, 0)])
        candidates = tf.constant([[target, *negatives]])
        valid = np.append(1.0, negatives != target)[None].astype(np.float32)
        items, past = to_items(candidates), to_items(begin)
        state = scorer.item_state(
          items, scorer.item_embedding(items, trainer_test.Phase.TRAIN)
        )
        user_state = scorer.user_state(
          past, scorer.history_embedding(past), trainer_test.Phase.TRAIN
        )
        logits = losses.correct_logits(
          scorer.score(user_state, state, trainer_test.Phase.TRAIN),
          tf.gather(LOG_EXPECTED, candidates),
          valid,
        )
        rows.append(losses.sampled_softmax(logits, valid)[0])
    return tf.reduce_mean(tf.stack(rows))

  variables = scorer.all_trainable_variables()
  with tf.GradientTape() as tape:
    wanted = clean_loss()
  gradients = tape.gradient(wanted, variables)
  results = first_step(made, data)
  assert results["loss_clean"] == pytest.approx(float(wanted), rel=1e-4)
  assert (results["loss_adversarial"] > 0) == (adv_eps > 0)
  if adv_eps:
    return
  norm = [
    tf.reduce_sum(tf.square(tf.convert_to_tensor(g)))
    for g in gradients
    if g is not None
  ]
  dense = [
    tf.convert_to_tensor(g) if isinstance(g, tf.IndexedSlices) else g
    for g in gradients
  ]
  assert float(tf.sqrt(tf.add_n(norm))) > 0
  for variable, old, gradient in zip(
    made.scorer.all_trainable_variables(), variables, dense, strict=True
  ):
    assert gradient is not None, variable.name
    clear = np.abs(gradient) > 1e-5
    # Adam's first step is the sign of the gradient.
    moved = np.sign(variable.numpy() - old.numpy() * (1 - 1e-3))
    np.testing.assert_array_equal(
      moved[clear], -np.sign(gradient)[clear], err_msg=variable.name
    )


def test_user_with_many_windows_counts_less_than_they_do() -> None:
  """As their square root, at a power of a half."""
  made = make(learning_rate=0.0, weight_decay=0.0, user_power=0.5)
  data = trainer_test.batch()
  windows = np.arange(1, 9) ** 2

  def loss(rows: np.ndarray, windows: np.ndarray) -> float:
    """Of the batch, in which only some rows teach."""
    taught = np.isin(np.arange(8), rows)
    changed = {
      **data,
      "history": tf.where(taught[:, None], data["history"], 0),
      "target": tf.where(taught, data["target"], 0),
      "user_windows": tf.constant(windows),
    }
    return first_step(made, changed)["loss_clean"]

  next_ids = sequence_trainer.following(data["history"], data["target"])
  targets = (next_ids.numpy()[:, 2:] > 0).sum(axis=1)
  wanted = np.average(
    [loss(np.array([row]), windows) for row in range(8)],
    weights=targets / np.sqrt(windows),
  )
  found = loss(np.arange(8), windows)
  assert found == pytest.approx(wanted, rel=1e-4)
  assert found != pytest.approx(loss(np.arange(8), windows * 0 + 1), rel=1e-4)


def test_training_learns_a_cycle() -> None:
  made = make(adv_eps=0.0, dropout=0.1, clip_norm=1.0)
  rng = np.random.default_rng(0)
  for step in range(200):
    begin = rng.integers(0, NUM_ITEMS, (16, 1))
    cycle = (begin + np.arange(7)) % NUM_ITEMS + 1
    data = {
      "history": tf.constant(cycle[:, :6]),
      "target": tf.constant(cycle[:, 6]),
      "negatives": tf.constant(rng.integers(1, NUM_ITEMS + 1, (16, 3))),
    }
    results = made.step(data, tf.constant(step, tf.int64))
  assert float(results["accuracy"]) > 0.8


def test_two_replicas_train_like_one() -> None:
  program = """
import json, sys
import tensorflow as tf
from nann.jobs import train
from nann.model.nann_plus import NannPlusScorer
from nann.model.sequence_trainer import SequenceTrainer
from tests.nann.model import sequence_trainer_test as s, trainer_test as t
strategy = train.make_strategy(int(sys.argv[1]), "nann_plus")
with strategy.scope():
  scorer = NannPlusScorer(s.SPEC)
made = SequenceTrainer(
  scorer, strategy, t.settings(learning_rate=1e-3, oov_dropout=0.2),
  t.CATEGORIES, t.LOG_EXPECTED)
curve = [
  {k: float(v) for k, v in made.step(
    t.batch(step), tf.constant(step, tf.int64)).items()}
  for step in range(6)]
print("RESULT" + json.dumps(curve))
"""
  results = []
  for replicas in ("1", "2"):
    done = run_python("-c", program, replicas)
    assert done.returncode == 0, done.stderr
    results.append(json.loads(done.stdout.split("RESULT")[1]))
  for one, two in zip(*results, strict=True):
    assert one["loss"] == pytest.approx(two["loss"], rel=2e-3)
    assert one["accuracy"] == pytest.approx(two["accuracy"], abs=0.05)
