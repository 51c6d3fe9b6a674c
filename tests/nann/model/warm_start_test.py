import tracemalloc

import numpy as np
import pytest

from nann.model import warm_start


def events(
  num_users: int = 200, num_items: int = 60, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
  """Users with items of their own half of the catalogue, some twice."""
  rng = np.random.default_rng(seed)
  lengths = rng.integers(2, 12, num_users)
  half = np.repeat(rng.integers(0, 2, num_users), lengths)
  item_ids = rng.integers(1, num_items // 2, lengths.sum()) + half * (
    num_items // 2
  )
  return item_ids.astype(np.int32), np.concatenate([[0], np.cumsum(lengths)])


def dense_scores(
  item_ids: np.ndarray, row_splits: np.ndarray, num_items: int, width: int
) -> np.ndarray:
  """What item says of which item, [I + 1, I + 1], by a dense decomposition."""
  matrix: np.ndarray = np.zeros((len(row_splits) - 1, num_items + 1))
  for user in range(len(row_splits) - 1):
    matrix[user, item_ids[row_splits[user] : row_splits[user + 1]]] = 1
  users_of_item = np.maximum(matrix.sum(0), 1)
  scaled = matrix / np.sqrt(matrix.sum(1))[:, None] / users_of_item**0.35
  _, singular, right = np.linalg.svd(scaled, full_matrices=False)
  product = (right[:width].T * singular[:width]) @ right[:width]
  return product * users_of_item**0.35 / users_of_item[:, None] ** 0.35


def test_factors_are_the_best_of_their_rank() -> None:
  item_ids, row_splits = events()
  start = warm_start.compute(item_ids, row_splits, 60, 2, seed=0)
  history = start.directions * np.exp(start.gain_in)[:, None]
  scored = start.directions * np.exp(start.gain_out)[:, None]
  got, wanted = history @ scored.T, dense_scores(item_ids, row_splits, 60, 2)
  seen = np.unique(item_ids)
  got, wanted = got[np.ix_(seen, seen)], wanted[np.ix_(seen, seen)]
  # Equal up to the one factor that `scale` takes out again.
  np.testing.assert_allclose(
    got / got.std(),
    wanted / wanted.std(),
    atol=0.02 * np.ptp(wanted) / wanted.std(),
  )


def test_block_size_and_repetition_change_nothing() -> None:
  item_ids, row_splits = events()
  before = item_ids.copy()
  whole = warm_start.compute(item_ids, row_splits, 60, 5, seed=1)
  blocks = warm_start.compute(
    item_ids, row_splits, 60, 5, seed=1, block_events=50
  )
  again = warm_start.compute(item_ids, row_splits, 60, 5, seed=1)
  np.testing.assert_array_equal(item_ids, before)
  np.testing.assert_array_equal(whole.directions, again.directions)
  np.testing.assert_allclose(whole.directions, blocks.directions, atol=1e-3)
  assert whole.scale == pytest.approx(blocks.scale, rel=1e-3)


def test_rows_have_length_one_or_are_unseen() -> None:
  item_ids, row_splits = events()
  start = warm_start.compute(item_ids, row_splits, 70, 6, seed=0)
  length = np.linalg.norm(start.directions, axis=1)
  seen = np.isin(np.arange(71), item_ids)
  np.testing.assert_allclose(length[seen], 1.0, atol=1e-5)
  assert not length[~seen].any()
  assert not start.gain_in[~seen].any()


def test_width_beyond_the_rank_is_padded() -> None:
  item_ids = np.array([1, 2, 1, 2], np.int32)
  start = warm_start.compute(item_ids, np.array([0, 2, 4]), 2, 8, seed=0)
  assert start.directions.shape == (3, 8)
  assert np.isfinite(start.directions).all()
  assert np.isfinite(start.scale)


def test_memory_is_that_of_tables_and_a_block() -> None:
  item_ids, row_splits = events(20_000, 1000)

  def peak(block_events: int) -> int:
    tracemalloc.start()
    warm_start.compute(
      item_ids, row_splits, 1000, 16, seed=0, block_events=block_events
    )
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most

  tables = 8 * 1001 * 32 * 4
  assert peak(2_000) < tables + 4_000_000
  assert peak(2_000) < peak(10_000_000) / 3
