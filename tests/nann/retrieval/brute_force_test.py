"""The best of blocks against a sort of everything."""

import numpy as np
import pytest

from nann.retrieval import brute_force


@pytest.mark.parametrize("seed", range(20))
def test_best_of_blocks_are_the_first_of_a_sort(seed: int) -> None:
  rng = np.random.default_rng(seed)
  num_users, num_rows = int(rng.integers(1, 5)), int(rng.integers(1, 400))
  k = int(rng.choice([1, 5, 60, 500]))
  # Few different scores: most are equal to others, in other blocks too.
  scores = rng.integers(-9, 9, (num_users, num_rows)).astype(np.float32)
  numbers = np.sort(rng.permutation(1000)[:num_rows]).astype(np.int32)
  cuts = np.sort(rng.integers(0, num_rows + 1, 6))
  found = brute_force._best_of_blocks(
    zip(np.split(numbers, cuts), np.split(scores, cuts, axis=1), strict=True),
    num_users,
    k,
  )
  for user in range(num_users):
    order = np.lexsort((numbers, -scores[user]))[:k]
    np.testing.assert_array_equal(found.rows[user], numbers[order])
    np.testing.assert_array_equal(found.scores[user], scores[user][order])
  assert (found.num_scored == num_rows).all()
