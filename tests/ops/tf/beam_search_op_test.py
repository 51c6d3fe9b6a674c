"""Nann>BeamSearch against the plain definition, to the last evaluation."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from nann import ops
from nann.retrieval import reference, tensors
from tests import worlds
from tests.ops.tf import cases

POLICIES = ["best_first", "paper"]
CHUNK = 250


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("first", range(0, 5000, CHUNK))
def test_search_is_the_definition(first: int, policy: str) -> None:
  for seed in range(first, first + CHUNK):
    world = worlds.random_world(seed)
    settings = cases.random_settings(world, seed)
    found = cases.call(cases.inputs(world, policy, settings))
    assert found.rows.shape == (3, settings.k)
    assert cases.answers(found) == cases.expected(world, policy, settings), seed


@pytest.mark.parametrize("num_users", [0, 1, 2, 17])
@pytest.mark.parametrize("policy", POLICIES)
def test_every_user_of_a_batch_is_answered(num_users: int, policy: str) -> None:
  world = worlds.random_world(5, num_users=num_users)
  settings = cases.random_settings(world, 5)
  found = cases.call(cases.inputs(world, policy, settings))
  assert found.rows.shape == (num_users, settings.k)
  assert cases.answers(found) == cases.expected(world, policy, settings)


@pytest.mark.parametrize("seed", range(40))
def test_stock_ops_answer_alike(seed: int) -> None:
  world = worlds.random_world(seed)
  settings = cases.random_settings(world, seed)

  def score(table: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    return tf.gather(
      table, tf.broadcast_to(rows, [len(table), rows.shape[1]]), batch_dims=1
    )

  for policy in POLICIES:
    inputs = cases.inputs(world, policy, settings)
    wanted = reference.beam_search(
      tensors.graph_tensors(world.graph),
      score,
      tf.constant(world.scores),
      tf.range(world.graph.num_rows),
      tf.constant(world.expand),
      tf.constant(world.only_score),
      tensors.policy_tensors(cases.policy(policy, settings)),
      settings.k,
      tf.constant(inputs["allowed"]),
      tf.constant(inputs["denied"]),
    )
    assert cases.answers(cases.call(inputs)) == cases.answers(wanted)


def by_sum(user: dict, items: dict) -> tf.Tensor:
  """Adds up everything there is, so that a wrong slice shows."""
  of_user = [tf.reduce_sum(tf.cast(part, tf.float32)) for part in user.values()]
  of_items = [
    tf.reduce_sum(tf.cast(part, tf.float32), list(range(2, part.shape.rank)))
    for part in items.values()
  ]
  return tf.add_n(of_user) + tf.add_n(of_items)  # [1, n]


def test_states_of_every_kind_reach_the_scorer() -> None:
  rng = np.random.default_rng(0)
  world = worlds.random_world(2)
  num_users, num_rows = world.scores.shape

  def numbers(first: int, *shape: int) -> np.ndarray:
    return rng.integers(-9, 9, (first, *shape))

  user = {
    "bfloat16": tf.cast(numbers(num_users, 1, 3), tf.bfloat16),
    "int64": tf.constant(numbers(num_users, 1), tf.int64),
    "rank_1": tf.constant(numbers(num_users), tf.float32),
    # A user's part of this begins at any byte.
    "uneven": tf.constant(numbers(num_users, 1, 1, 5), tf.int8),
  }
  items = {
    "rank_1": tf.constant(numbers(num_rows), tf.int32),
    "float32": tf.constant(numbers(num_rows, 3), tf.float32),
    "float16": tf.constant(numbers(num_rows, 2, 2), tf.float16),
    "bfloat16": tf.cast(numbers(num_rows, 1), tf.bfloat16),
    "int64": tf.constant(numbers(num_rows, 2, 1, 3), tf.int64),
    "nothing": tf.zeros([num_rows, 0]),
    "bool": tf.constant(numbers(num_rows, 2) > 0),
  }
  scores = np.array(
    [
      [sums(user, i) + sums(items, r) for r in range(num_rows)]
      for i in range(num_users)
    ],
    np.float32,
  )
  world = dataclasses.replace(world, scores=scores)
  settings = cases.random_settings(world, 2)
  arguments = cases.inputs(world, "best_first", settings)
  found = ops.beam_search(
    list(zip(arguments["values"], arguments["row_splits"], strict=True)),
    arguments["entry_points"],
    by_sum,
    user,
    items,
    arguments["expand"],
    arguments["only_score"],
    arguments["k"],
    limits=arguments["limits"],
  )
  open_to_all = dataclasses.replace(settings, allowed=None, denied=None)
  assert cases.answers(found) == cases.expected(
    world, "best_first", open_to_all
  )


def sums(state: dict[str, tf.Tensor], i: int) -> float:
  parts = (part[i].numpy().astype(float) for part in state.values())
  return sum(float(np.sum(part)) for part in parts)


def test_scorer_sees_what_it_captured() -> None:
  world = worlds.random_world(7)
  bonus = tf.Variable(tf.zeros([world.graph.num_rows]))
  factor = tf.constant(2.0)

  def score(table: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    return factor * tf.gather(table[0] + bonus, rows)

  scorer = tf.function(score).get_concrete_function(
    tf.TensorSpec([1, None], tf.float32), tf.TensorSpec([1, None], tf.int32)
  )
  settings = cases.random_settings(world, 7)
  rng = np.random.default_rng(7)
  for _ in range(3):
    bonus.assign(rng.integers(0, 50, bonus.shape).astype(np.float32))
    arguments = cases.inputs(world, "paper", settings)
    arguments |= {"scorer": scorer, "captured": scorer.captured_inputs}
    scores = 2 * (world.scores + bonus.numpy())
    changed = dataclasses.replace(world, scores=scores)
    wanted = cases.expected(changed, "paper", settings)
    assert cases.answers(cases.call(arguments)) == wanted
