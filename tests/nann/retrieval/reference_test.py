"""The stock-op search against the plain NumPy definition."""

import numpy as np
import pytest
import tensorflow as tf

from nann.retrieval import reference, tensors
from nann.retrieval.result import BestFirstPolicy, PaperPolicy, Policy
from tests import oracle, worlds

NUM_CASES = 150


def score(user_state: tf.Tensor, item_state: tf.Tensor) -> tf.Tensor:
  """The score of row r for a user is the r-th entry of his state."""
  rows = tf.broadcast_to(
    item_state[..., 0], [tf.shape(user_state)[0], tf.shape(item_state)[1]]
  )
  return tf.gather(user_state, rows, batch_dims=1)


def run(world: worlds.World, policy: Policy, k: int) -> list[oracle.Found]:
  graph = tensors.graph_tensors(world.graph)
  user_state = tf.constant(world.scores)
  item_state = tf.range(world.graph.num_rows)[:, None]
  if isinstance(policy, PaperPolicy):
    found = reference.paper_search(
      graph, score, user_state, item_state, policy, k
    )
  else:
    found = reference.best_first_search(
      graph,
      score,
      user_state,
      item_state,
      tf.constant(world.expand),
      tf.constant(world.only_score),
      policy,
      k,
    )
  answers = []
  for rows, scores, counts in zip(
    *(tensor.numpy() for tensor in found), strict=True
  ):
    present = rows >= 0
    # What is missing comes last, with no score.
    assert (np.diff(present.astype(int)) <= 0).all()
    assert (scores[~present] == -np.inf).all()
    answers.append(
      oracle.Found(
        rows[present].tolist(), scores[present].tolist(), counts.tolist()
      )
    )
  return answers


def padded(counts: list[int], length: int) -> list[int]:
  return counts + [0] * (length - len(counts))


@pytest.mark.parametrize("seed", range(NUM_CASES))
def test_paper_policy_is_the_definition(seed: int) -> None:
  world = worlds.random_world(seed)
  rng = np.random.default_rng(seed + 10_000)
  num_levels = len(world.graph.levels)
  policy = PaperPolicy(
    widths=tuple(int(w) for w in rng.integers(1, 12, num_levels + 1)),
    hops=(*(int(h) for h in rng.integers(1, 4, num_levels)), 1),
  )
  k = int(rng.integers(1, 15))
  for user, got in enumerate(run(world, policy, k)):
    expected = oracle.paper_search(
      [world.lists(level) for level in range(num_levels)],
      world.graph.entry_points.tolist(),
      lambda rows, user=user: world.scores[user][rows],
      policy.widths,
      policy.hops,
      k,
    )
    assert got == expected


@pytest.mark.parametrize("seed", range(NUM_CASES))
def test_best_first_policy_is_the_definition(seed: int) -> None:
  world = worlds.random_world(seed)
  rng = np.random.default_rng(seed + 20_000)
  policy = BestFirstPolicy(
    ef=int(rng.integers(1, 20)),
    width=int(rng.integers(1, 6)),
    max_steps=int(rng.choice([1, 2, 3, 50])),
    max_evaluations=int(rng.choice([1, 3, 7, 1000])),
  )
  k = int(rng.integers(1, 15))
  for user, got in enumerate(run(world, policy, k)):
    expected = oracle.best_first_search(
      world.lists(0),
      [row for row in world.expand[user] if row >= 0],
      [row for row in world.only_score[user] if row >= 0],
      lambda rows, user=user: world.scores[user][rows],
      policy.ef,
      policy.width,
      policy.max_steps,
      policy.max_evaluations,
      k,
    )
    expected = expected._replace(
      num_scored=padded(expected.num_scored, policy.max_steps)
    )
    assert got == expected


def test_policy_with_too_few_levels_is_refused() -> None:
  policy = PaperPolicy((400, 200), (3, 1))
  assert policy.for_start_level(1) == policy
  with pytest.raises(ValueError, match="wanted 3"):
    policy.for_start_level(2)


def test_lower_start_level_keeps_the_lower_widths() -> None:
  policy = PaperPolicy((400, 200, 100), (3, 1, 1)).for_start_level(1)
  assert policy == PaperPolicy((400, 200), (3, 1))
  assert policy.num_steps == 4
