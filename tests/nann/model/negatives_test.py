import numpy as np
import pytest
import tensorflow as tf

from nann.model import negatives


def table_distribution(table: negatives.AliasTable) -> np.ndarray:
  """What the table says, bucket by bucket."""
  number = len(table.keep)
  got = np.zeros(number)
  for bucket in range(number):
    got[bucket] += table.keep[bucket] / number
    got[table.alias[bucket]] += (1.0 - float(table.keep[bucket])) / number
  return got


@pytest.mark.parametrize("seed", range(40))
def test_table_has_the_wanted_distribution(seed: int) -> None:
  rng = np.random.default_rng(seed)
  number = int(rng.integers(1, 60))
  weights = rng.random(number) ** rng.integers(1, 12)
  weights[rng.random(number) < 0.2] = 0.0
  weights[rng.integers(number)] += 1.0
  table = negatives.alias_table(weights)
  np.testing.assert_allclose(
    table_distribution(table), weights / weights.sum(), atol=1e-6
  )


@pytest.mark.parametrize(
  "weights", [[1.0], [1.0, 1.0, 1.0], [0.0, 1.0], [5.0, 0.0, 0.0, 0.0]]
)
def test_table_of_few_items(weights: list[float]) -> None:
  table = negatives.alias_table(np.array(weights))
  wanted = np.array(weights) / np.sum(weights)
  np.testing.assert_allclose(table_distribution(table), wanted, atol=1e-7)


def test_large_table_loses_no_probability() -> None:
  weights = 1.0 / np.arange(1, 200_001)
  table = negatives.alias_table(weights)
  got = table.keep.astype(np.float64)
  got = got + np.bincount(table.alias, weights=1.0 - got, minlength=len(got))
  wanted = weights / weights.mean()
  np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-3)


COUNTS = np.array([50.0, 0.0, 20.0, 5.0, 1.0, 24.0])


def draws(alpha: float) -> np.ndarray:
  sampler = negatives.UnigramSampler(COUNTS, alpha, num_negatives=100, seed=0)
  drawn = [sampler.draw(tf.constant(step), 200) for step in range(5)]
  return np.bincount(np.concatenate(drawn).ravel(), minlength=7) / 100_000


@pytest.mark.parametrize("alpha", [1.0, 0.75, 0.0])
def test_draws_follow_tensorflows_unigram_sampler(alpha: float) -> None:
  theirs = [
    tf.random.fixed_unigram_candidate_sampler(
      true_classes=[[0]],
      num_true=1,
      num_sampled=50_000,
      unique=False,
      range_max=6,
      # 0^0 is 1: it would draw the item that never occurs.
      distortion=alpha or 1.0,
      unigrams=COUNTS.tolist() if alpha else (COUNTS > 0).tolist(),
      seed=seed,
    ).sampled_candidates
    for seed in (1, 2)
  ]
  expected = np.bincount(np.concatenate(theirs), minlength=6) / 100_000
  np.testing.assert_allclose(draws(alpha)[1:], expected, atol=0.006)
  assert draws(alpha)[0] == 0


def test_expected_count_is_that_of_the_draws() -> None:
  sampler = negatives.UnigramSampler(COUNTS, 1.0, num_negatives=100, seed=0)
  expected = np.exp(sampler.log_expected_count()[1:])
  occurs = COUNTS > 0
  np.testing.assert_allclose(
    expected[occurs], 100 * COUNTS[occurs] / COUNTS.sum(), rtol=1e-5
  )


def test_item_that_never_occurs_has_a_finite_correction() -> None:
  sampler = negatives.UnigramSampler(COUNTS, 1.0, num_negatives=100, seed=0)
  log_expected = sampler.log_expected_count()
  assert np.isfinite(log_expected).all()
  assert log_expected[2] == log_expected[1:].min()


def test_step_and_seed_decide_the_draw() -> None:
  def draw(seed: int, step: int) -> list:
    sampler = negatives.UnigramSampler(COUNTS, 1.0, 10, seed)
    return sampler.draw(tf.constant(step), 4).numpy().tolist()

  assert draw(0, 3) == draw(0, 3)
  assert draw(0, 3) != draw(0, 4)
  assert draw(0, 3) != draw(1, 3)


def test_nothing_to_sample_is_refused() -> None:
  with pytest.raises(ValueError, match="no item occurs"):
    negatives.UnigramSampler(np.zeros(3), 1.0, 10, 0)
