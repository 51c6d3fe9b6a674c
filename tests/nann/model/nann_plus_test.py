import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nann.model import terms
from nann.model.layers import Phase
from nann.model.nann_plus import NannPlusScorer, Noise
from nann.model.scorer import Items, ScorerSpec
from nann.model.warm_start import WarmStart
from tests.nann.model.scorers_test import items

NUM_ITEMS = 50
SPEC = ScorerSpec(NUM_ITEMS, 7, emb_dim=4, seed=3, max_length=6)
EVERYTHING = items(*range(1, NUM_ITEMS + 1))
# Repetitions, neighbors in category, padding.
HISTORY = items([3, 9, 27, 3, 0], [8, 8, 1, 50, 2], [5, 12, 0, 0, 0])
PARTS = ["encoder", "fism", "attention_term", "repeats", "neighbors"]


def make(**changed: Any) -> NannPlusScorer:
  """A scorer all of whose variables matter."""
  scorer = NannPlusScorer(dataclasses.replace(SPEC, **changed))
  rng = np.random.default_rng(0)
  for variable in scorer.trainable_variables:
    variable.assign(variable + rng.normal(size=variable.shape) / 10)
  if scorer.spec.neighbors:
    scorer.neighbors.factors.assign(rng.normal(size=(NUM_ITEMS + 1, 8)))
    scorer.neighbors.signs.assign([1, -1] * 4)
    scorer.neighbors.weight.assign(0.5)
  return scorer


def scores_of(scorer: NannPlusScorer, history: Items) -> np.ndarray:
  """Scores of all items for whole histories, [B, 50]."""
  user = scorer.user_state(
    history, scorer.history_embedding(history), Phase.INFERENCE
  )
  embedding = scorer.item_embedding(EVERYTHING, Phase.INFERENCE)
  state = tf.nest.map_structure(
    lambda x: x[None], scorer.item_state(EVERYTHING, embedding)
  )
  return scorer.score(user, state, Phase.INFERENCE).numpy()


def begin_of(history: Items, length: int) -> Items:
  inside = np.arange(history.item_ids.shape[1]) < length
  return items(*np.where(inside, history.item_ids, 0).tolist())


def states(scorer: NannPlusScorer, some: Items, noise: Noise | None) -> Any:
  embedding = scorer.candidate_embedding(some, noise)
  return scorer.candidate_state(some, embedding, noise)


@pytest.mark.parametrize("left_out", [None, *PARTS])
def test_positions_score_like_histories_that_end_there(
  left_out: str | None,
) -> None:
  scorer = make(**({left_out: False} if left_out else {}))
  places = scorer.positions(HISTORY, None)
  shared = scorer.score_shared(places, states(scorer, EVERYTHING, None))
  targets = items([9, 27, 3, 14, 0], [8, 1, 50, 2, 7], [12, 5, 0, 0, 0])
  own = scorer.score_next(places, states(scorer, targets, None))
  for length in range(1, 6):
    wanted = scores_of(scorer, begin_of(HISTORY, length))
    there = HISTORY.item_ids.numpy()[:, length - 1] > 0
    np.testing.assert_allclose(
      shared.numpy()[there, length - 1], wanted[there], rtol=1e-4, atol=1e-4
    )
    for user in np.flatnonzero(there):
      target = int(targets.item_ids[user, length - 1])
      if target:
        assert float(own[user, length - 1]) == pytest.approx(
          wanted[user, target - 1], rel=1e-4, abs=1e-4
        )


@pytest.mark.parametrize("part", PARTS)
def test_part_that_is_off_has_no_variables_and_no_state(part: str) -> None:
  whole, less = make(), make(**{part: False})
  if part not in ("fism", "neighbors"):
    assert len(less.trainable_variables) < len(whole.trainable_variables)
  assert np.abs(scores_of(whole, HISTORY) - scores_of(less, HISTORY)).max() > 0
  state = states(less, EVERYTHING, None)
  if part == "repeats":
    assert "item_id" not in state
  if part == "attention_term":
    assert "query" not in state
  if part in ("fism", "neighbors"):
    assert state["vector"].shape[-1] == 128 + 8


def test_repetition_adds_probability_whatever_the_item() -> None:
  """exp(score) grows by the same mass for a popular and for a rare item."""
  scorer = make(fism=False, attention_term=False, encoder=False)
  scorer.repeats.ages.logits.assign(tf.zeros([6]))
  scorer.repeats.gate.kernel.assign(tf.zeros([128, 1]))
  scorer.features.learned_bias.assign(np.linspace(-6, 6, NUM_ITEMS + 1))
  with_repeats = scores_of(scorer, HISTORY)
  scorer.repeats.ages.logits.assign(tf.fill([6], -50.0))
  without = scores_of(scorer, HISTORY)
  mass = np.exp(with_repeats) - np.exp(without)
  for user, history in enumerate(HISTORY.item_ids.numpy()):
    times = np.array([(history == i).sum() for i in range(1, NUM_ITEMS + 1)])
    np.testing.assert_allclose(mass[user], times, rtol=1e-2, atol=1e-2)


def test_unseen_item_is_its_category_and_frequency() -> None:
  scorer = make(neighbors=False)
  counts = np.full(NUM_ITEMS, 10.0)
  counts[[2, 9, 16]] = 0.0  # Items 3, 10 and 17: category 4.
  scorer.begin_with(counts, None)
  found = scores_of(scorer, items([8, 1, 50, 2, 5]))[0]
  assert found[2] == pytest.approx(found[9], abs=1e-4)
  assert found[2] == pytest.approx(found[16], abs=1e-4)
  assert found[23] != pytest.approx(found[9], abs=1e-3)  # Category 4, known.
  # A repetition is seen all the same.
  repeated = scores_of(scorer, items([8, 1, 3, 2, 5]))[0]
  assert repeated[2] > repeated[9] + 1e-2


def test_hidden_items_look_like_unseen_ones() -> None:
  scorer = make(neighbors=False)
  noise = Noise(tf.constant(5, tf.int64), 0.0, 0.5)
  hidden = terms.is_drawn(EVERYTHING.item_ids, noise.seed, 0.5).numpy()
  assert 10 < hidden.sum() < 40
  noisy = scorer.candidate_embedding(EVERYTHING, noise).numpy()
  clean = scorer.candidate_embedding(EVERYTHING, None).numpy()
  counts = np.where(hidden, 0.0, 1.0)
  scorer.begin_with(counts, None)
  unseen = scorer.candidate_embedding(EVERYTHING, None).numpy()
  np.testing.assert_allclose(noisy, unseen, atol=1e-6)
  np.testing.assert_array_equal(noisy[~hidden], clean[~hidden])


def test_share_of_items_is_drawn_anew_for_each_seed() -> None:
  item_ids = tf.range(1, 20_001, dtype=tf.int64)
  drawn = [
    terms.is_drawn(item_ids, tf.constant(seed, tf.int64), 0.15).numpy()
    for seed in range(20)
  ]
  assert np.mean(drawn) == pytest.approx(0.15, abs=0.005)
  for seed in range(19):
    both = (drawn[seed] & drawn[seed + 1]).mean()
    assert both == pytest.approx(0.15**2, abs=0.006)


def test_warm_start_fills_the_tables_and_slows_them_down() -> None:
  scorer = make()
  rng = np.random.default_rng(0)
  warm = WarmStart(
    rng.normal(size=(NUM_ITEMS + 1, 8)).astype(np.float32),
    rng.normal(size=NUM_ITEMS + 1).astype(np.float32),
    rng.normal(size=NUM_ITEMS + 1).astype(np.float32),
    0.5,
  )
  scorer.begin_with(np.ones(NUM_ITEMS), warm)
  np.testing.assert_array_equal(scorer.features.item, warm.directions)
  assert float(tf.exp(scorer.fism_scale)) == pytest.approx(0.5)
  slow = {id(variable) for variable, factor in scorer.rate_factors()}
  assert id(scorer.features.item) in slow
  cold = make(warm_start=False)
  assert id(cold.features.item) not in {id(v) for v, _ in cold.rate_factors()}
