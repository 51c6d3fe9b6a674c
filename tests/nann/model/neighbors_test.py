import itertools

import numpy as np
import pytest
import tensorflow as tf

from nann.model import encoder, neighbors
from nann.model.scorer import Items
from tests.nann.model.warm_start_test import events

NUM_ITEMS = 60


def slow_information(
  item_ids: np.ndarray, row_splits: np.ndarray
) -> np.ndarray:
  """Smoothed positive mutual information, [I + 1, I + 1], pair by pair."""
  counts: np.ndarray = np.zeros((NUM_ITEMS + 1, NUM_ITEMS + 1))
  for begin, end in itertools.pairwise(row_splits):
    for i in range(begin, end):
      for j in range(i + 1, min(i + 6, end)):
        a, b = item_ids[i], item_ids[j]
        if a != b:
          counts[a, b] += (j - i) ** -0.5
          counts[b, a] += (j - i) ** -0.5
  smooth = counts.sum(0) ** 0.875
  expected = np.outer(smooth, smooth) / smooth.sum() ** 2
  with np.errstate(divide="ignore", invalid="ignore"):
    value = np.log(counts / counts.sum() / expected)
  return np.where(counts > 0, np.maximum(value, 0), 0)


def product(found: neighbors.Neighbors) -> np.ndarray:
  return (found.factors * found.signs) @ found.factors.T


def test_all_factors_give_the_information_itself() -> None:
  item_ids, row_splits = events()
  found = neighbors.compute(item_ids, row_splits, NUM_ITEMS, 61, seed=0)
  wanted = slow_information(item_ids, row_splits)
  assert wanted.max() > 1
  np.testing.assert_allclose(product(found), wanted, atol=1e-3)


def test_few_factors_are_nearly_the_best_of_their_number() -> None:
  item_ids, row_splits = events()
  found = neighbors.compute(item_ids, row_splits, NUM_ITEMS, 4, seed=0)
  wanted = slow_information(item_ids, row_splits)
  values = np.linalg.svd(wanted, compute_uv=False)
  best = np.sqrt((values[4:] ** 2).sum())
  assert np.linalg.norm(product(found) - wanted) < 1.02 * best


def test_too_many_events_are_a_sample_of_users() -> None:
  item_ids, row_splits = events(num_users=4000)
  found = neighbors.compute(
    item_ids, row_splits, NUM_ITEMS, 4, seed=0, max_events=len(item_ids) // 2
  )
  whole = neighbors.compute(item_ids, row_splits, NUM_ITEMS, 4, seed=0)
  assert (product(found) != product(whole)).any()
  both = np.corrcoef(product(found).ravel(), product(whole).ravel())
  assert both[0, 1] > 0.9


def test_items_without_neighbors_say_nothing() -> None:
  found = neighbors.compute(np.array([7, 7, 3]), np.array([0, 2, 3]), 9, 2, 0)
  np.testing.assert_array_equal(found.factors, np.zeros((10, 2)))


def test_term_is_the_mean_of_the_history_weighted_by_age() -> None:
  rng = np.random.default_rng(0)
  factors = rng.normal(size=(NUM_ITEMS + 1, 3)).astype(np.float32)
  term = neighbors.NeighborTerm(NUM_ITEMS, 3)
  signs = np.array([1, -1, 1], np.float32)
  term.begin_with(neighbors.Neighbors(factors, signs))
  term.weight.assign(2.0)
  ids = tf.constant([[4, 9, 4, 0]], tf.int64)
  history = Items(ids, ids)
  valid = tf.cast(ids > 0, tf.float32)
  ages = encoder.ages_between(4)[None]
  found = term.after_positions(history, valid, ages).numpy()[0]
  for place in range(3):
    weights = 1 / (1 + np.arange(place, -1, -1) / 5)
    past = factors[ids.numpy()[0, : place + 1]]
    wanted = 2 * signs * (weights @ past) / weights.sum()
    assert found[place] == pytest.approx(wanted, rel=1e-5)
