import json
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from nann.model import adversarial, layers, losses, optimizer, trainer
from nann.model import scorer as scorers
from nann.model.layers import Phase
from nann.model.scorer import Items, Scorer, ScorerSpec
from tests.conftest import run_python

NUM_ITEMS, NUM_CATEGORIES = 40, 5
CATEGORIES = np.concatenate([[0], np.arange(NUM_ITEMS) % 5 + 1]).astype(
  np.int32
)
LOG_EXPECTED = np.linspace(-2, 1, NUM_ITEMS + 1).astype(np.float32)


def settings(**changed: object) -> trainer.StepSettings:
  values: dict = {
    "loss": "softmax",
    "adv_eps": 0.05,
    "adv_eps_relative": False,
    "adv_weight": 1.0,
    "learning_rate": 1e-2,
    "lr_schedule": "constant",
    "weight_decay": 1e-3,
    "num_steps": 10,
  }
  return trainer.StepSettings(**{**values, **changed})


def batch(seed: int = 0, rows: int = 8) -> trainer.Batch:
  rng = np.random.default_rng(seed)
  history = rng.integers(1, NUM_ITEMS + 1, (rows, 6))
  history[: rows // 2, 4:] = 0
  negatives = rng.integers(1, NUM_ITEMS + 1, (rows, 9))
  target = rng.integers(1, NUM_ITEMS + 1, rows)
  negatives[0, 3] = target[0]  # An accidental hit.
  return {
    "history": tf.constant(history),
    "target": tf.constant(target),
    "negatives": tf.constant(negatives),
  }


def make(name: str, **changed: object) -> trainer.Trainer:
  spec = ScorerSpec(NUM_ITEMS, NUM_CATEGORIES, emb_dim=4, seed=1)
  scorer = scorers.create(name, spec)
  return trainer.Trainer(
    scorer,
    tf.distribute.get_strategy(),
    settings(**changed),
    CATEGORIES,
    LOG_EXPECTED,
  )


def to_items(item_ids: tf.Tensor) -> Items:
  return Items(item_ids, tf.cast(tf.gather(CATEGORIES, item_ids), tf.int64))


def slow_losses(
  scorer: Scorer, data: trainer.Batch, step: trainer.StepSettings
) -> Callable[[], tuple[tf.Tensor, tf.Tensor]]:
  """The losses as the paper writes them: every pair on its own.

  Returns a function that gives loss and adversarial loss, so that a tape can
  watch it; where the perturbation points is found before.
  """
  candidates = tf.concat([data["target"][:, None], data["negatives"]], axis=1)
  history = to_items(data["history"])
  hit = candidates == data["target"][:, None]
  hit = tf.concat([tf.zeros_like(hit[:, :1]), hit[:, 1:]], axis=1)
  valid = 1.0 - tf.cast(hit, tf.float32)

  def embed() -> tf.Tensor:
    return scorer.item_embedding(to_items(candidates), Phase.PERTURBED)

  def logits(e: tf.Tensor) -> tf.Tensor:
    embedding = scorer.history_embedding(history)
    user = scorer.user_state(history, embedding, Phase.PERTURBED)
    state = scorer.item_state(to_items(candidates), e)
    return losses.correct_logits(
      scorer.score(user, state, Phase.PERTURBED),
      tf.gather(LOG_EXPECTED, candidates),
      valid,
    )

  def clean_loss(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(losses.LOSSES[step.loss](values, valid))

  e = embed()
  with tf.GradientTape() as tape:
    tape.watch(e)
    loss = clean_loss(logits(e))
  pushed = e + step.adv_eps * tf.sign(tape.gradient(loss, e))

  def both() -> tuple[tf.Tensor, tf.Tensor]:
    clean = logits(embed())
    rows = losses.kl_divergence(clean, logits(pushed))
    return clean_loss(clean), step.adv_weight * tf.reduce_mean(rows)

  return both


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("name", ["attention", "dnn", "two_tower"])
def test_step_is_one_step_down_the_plain_loss(name: str, loss: str) -> None:
  made = make(name, loss=loss)
  plain = scorers.create(
    name, ScorerSpec(NUM_ITEMS, NUM_CATEGORIES, emb_dim=4, seed=1)
  )
  variables = plain.all_trainable_variables()
  both = slow_losses(plain, batch(), settings(loss=loss))
  with tf.GradientTape() as tape:
    clean, adversarial = both()
    total = clean + adversarial
  gradients = tape.gradient(total, variables)
  results = made.step(batch(), tf.constant(0, tf.int64))
  assert float(results["loss_clean"]) == pytest.approx(float(clean), rel=1e-5)
  assert float(results["loss_adversarial"]) == pytest.approx(
    float(adversarial), rel=2e-3
  )
  ours = optimizer.LazyAdamW(variables, 1e-2, 1e-3)
  ours.apply(gradients, variables, tf.constant(0), tf.constant(1.0))
  for got, wanted, g in zip(
    made.scorer.all_trainable_variables(), variables, gradients, strict=True
  ):
    if isinstance(g, tf.IndexedSlices):
      g = tf.convert_to_tensor(g)
    # Adam's first step is the sign of the gradient: leave out where it is 0.
    clear = np.abs(np.zeros(got.shape) if g is None else g) > 1e-6
    np.testing.assert_allclose(
      got.numpy()[clear], wanted.numpy()[clear], atol=1e-4, err_msg=got.name
    )


@pytest.mark.parametrize("name", ["attention", "two_tower"])
def test_shared_negatives_are_those_of_every_row(name: str) -> None:
  data = batch()
  shared = data["negatives"][:1]
  own = {**data, "negatives": tf.repeat(shared, 8, axis=0)}
  a = make(name, adv_eps=0.0)
  b = make(name, adv_eps=0.0, shared_negatives=True)
  step = tf.constant(0, tf.int64)
  wanted = a.step(own, step)
  found = b.step({**data, "negatives": shared}, step)
  for key in ("loss", "accuracy", "gradient_norm"):
    assert float(found[key]) == pytest.approx(float(wanted[key]), rel=1e-4)
  # A tenth of the gradients.
  for x, y in zip(a.optimizer.first, b.optimizer.first, strict=True):
    np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-6)


def test_one_perturbation_of_a_shared_negative_meets_all_rows() -> None:
  data = batch()
  shared = {**data, "negatives": data["negatives"][:1]}
  own = {**data, "negatives": tf.repeat(shared["negatives"], 8, axis=0)}
  step = tf.constant(0, tf.int64)
  weak = make("attention", shared_negatives=True).step(shared, step)
  strong = make("attention").step(own, step)
  assert 0 < float(weak["loss_adversarial"]) < float(strong["loss_adversarial"])


@pytest.mark.parametrize("method", adversarial.METHODS)
def test_every_method_moves_by_at_most_eps(method: str) -> None:
  rng = np.random.default_rng(0)
  e = [tf.constant(rng.normal(size=shape), tf.float32) for shape in ((5, 4), 9)]
  wanted = [tf.zeros_like(x) for x in e]

  def toward(at: list[tf.Tensor]) -> list[tf.Tensor]:
    """Gradient of half the squared distance from 0."""
    return [x - y for x, y in zip(at, wanted, strict=True)]

  for relative in (False, True):
    moved = adversarial.perturbed(
      method, e, toward(e), toward, 0.1, relative, tf.constant(3, tf.int64)
    )
    for before, after in zip(e, moved, strict=True):
      size = 0.1 * (np.abs(before).mean() if relative else 1.0)
      change = (after - before).numpy()
      assert np.abs(change) == pytest.approx(
        np.full(change.shape, size), abs=1e-5
      )
      grown = np.abs(after) > np.abs(before)
      assert grown.all() == (method != "random_sign")


def test_methods_differ_and_all_cost_something() -> None:
  step = tf.constant(0, tf.int64)
  found = {
    method: float(
      make("attention", adv_method=method, adv_eps=0.05).step(batch(), step)[
        "loss_adversarial"
      ]
    )
    for method in adversarial.METHODS
  }
  assert all(value > 0 for value in found.values())
  assert found["random_sign"] < found["fgsm"] < found["pgd"] * 1.5
  assert found["penalty"] != found["fgsm"]


def test_adversarial_pass_leaves_the_moving_averages_alone() -> None:
  def averages(adv_eps: float) -> list[np.ndarray]:
    made = make("attention", adv_eps=adv_eps)
    made.step(batch(), tf.constant(0, tf.int64))
    return [
      module.mean.numpy()
      for module in made.scorer.submodules
      if isinstance(module, layers.BatchNorm)
    ]

  for a, b in zip(averages(0.0), averages(0.05), strict=True):
    np.testing.assert_array_equal(a, b)


def test_no_adversarial_loss_without_eps_or_weight() -> None:
  for changed in ({"adv_eps": 0.0}, {"adv_weight": 0.0}):
    results = make("attention", **changed).step(
      batch(), tf.constant(0, tf.int64)
    )
    assert float(results["loss_adversarial"]) == 0.0


def test_relative_eps_is_in_units_of_the_embedding() -> None:
  made = make("attention", adv_eps=0.5, adv_eps_relative=True)
  results = made.step(batch(), tf.constant(0, tf.int64))
  same = make(
    "attention", adv_eps=0.5 * float(results["mean_abs_embedding"])
  ).step(batch(), tf.constant(0, tf.int64))
  assert float(results["loss_adversarial"]) == pytest.approx(
    float(same["loss_adversarial"]), rel=1e-3
  )


def test_training_learns_to_rank_the_target_first() -> None:
  made = make("attention", num_steps=150)
  accuracies = []
  for step in range(150):
    data = batch(step, rows=32)
    # The next item is the newest of the history.
    data["target"] = data["history"][:, 3]
    results = made.step(data, tf.constant(step, tf.int64))
    accuracies.append(float(results["accuracy"]))
  assert np.mean(accuracies[:5]) < 0.2
  assert np.mean(accuracies[-30:]) > 0.5


@pytest.mark.parametrize(
  "name", ["attention", "examples.keras_scorer:KerasScorer"]
)
def test_two_replicas_train_like_one(name: str) -> None:
  """Run in processes of their own: logical devices are set once."""
  program = """
import json, sys
import numpy as np, tensorflow as tf
from nann.jobs import train
from nann.model import scorer as scorers, trainer
from tests.nann.model import trainer_test as t
strategy = train.make_strategy(int(sys.argv[2]), sys.argv[1])
with strategy.scope():
  spec = scorers.ScorerSpec(t.NUM_ITEMS, t.NUM_CATEGORIES, emb_dim=4, seed=1)
  scorer = scorers.create(sys.argv[1], spec)
settings = t.settings(learning_rate=1e-3)
made = trainer.Trainer(
  scorer, strategy, settings, t.CATEGORIES, t.LOG_EXPECTED)
curve = [
  {k: float(v) for k, v in made.step(
    t.batch(step), tf.constant(step, tf.int64)).items()}
  for step in range(12)]
means = [float(m.mean.numpy().sum()) for m in scorer.submodules
         if hasattr(m, "MOMENTUM")]
print("RESULT" + json.dumps([curve, means]))
"""
  results = []
  for replicas in ("1", "2"):
    done = run_python("-c", program, name, replicas)
    assert done.returncode == 0, done.stderr
    results.append(json.loads(done.stdout.split("RESULT")[1]))
  (one, one_means), (two, two_means) = results
  for a, b in zip(one, two, strict=True):
    assert a["loss"] == pytest.approx(b["loss"], rel=2e-3)
  np.testing.assert_allclose(one_means, two_means, atol=1e-2)
