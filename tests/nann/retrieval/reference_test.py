"""The stock-op search against the plain NumPy definition."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nann.ops import Found
from nann.retrieval import reference, tensors
from nann.retrieval.result import PaperPolicy
from nann.retrieval.tensors import PolicyTensors
from tests import worlds
from tests.ops.tf import cases

NUM_CASES = 150
POLICIES = ["paper", "best_first"]


def score(user_state: tf.Tensor, item_state: tf.Tensor) -> tf.Tensor:
  """The score of row r for a user is the r-th entry of his state."""
  rows = tf.broadcast_to(
    item_state[..., 0], [tf.shape(user_state)[0], tf.shape(item_state)[1]]
  )
  return tf.gather(user_state, rows, batch_dims=1)


def run(inputs: dict[str, Any]) -> Found:
  """Calls the reference with the inputs of the op."""
  is_paper = inputs["policy"] == "paper"
  policy = PolicyTensors(
    inputs["widths"] if is_paper else None,
    inputs["hops"] if is_paper else None,
    None if is_paper else inputs["limits"],
  )
  graph = tensors.GraphTensors(
    tuple(zip(inputs["values"], inputs["row_splits"], strict=True)),
    tf.convert_to_tensor(inputs["entry_points"]),
  )
  return reference.beam_search(
    graph,
    score,
    tf.convert_to_tensor(inputs["user_state"][0]),
    tf.convert_to_tensor(inputs["item_state"][0])[:, None],
    tf.convert_to_tensor(inputs["expand"]),
    tf.convert_to_tensor(inputs["only_score"]),
    policy,
    inputs["k"],
    *(_filter_or_none(inputs[name]) for name in ("allowed", "denied")),
  )


def _filter_or_none(value: Any) -> tf.Tensor | None:
  """Leaves out a filter that is known to be empty."""
  if isinstance(value, np.ndarray) and not value.size:
    return None
  return tf.convert_to_tensor(value)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(NUM_CASES))
def test_stock_ops_are_the_definition(seed: int, policy: str) -> None:
  world = worlds.random_world(seed)
  settings = cases.random_settings(world, seed)
  found = run(cases.inputs(world, policy, settings))
  assert cases.answers(found) == cases.expected(world, policy, settings)


def traced(policy: str) -> Any:
  """Returns the search with everything as a run-time input."""
  keys = ["values", "row_splits", "entry_points", "expand", "only_score"]
  keys += ["allowed", "denied", "widths", "hops", "limits", "k"]
  keys += ["user_state", "item_state"]

  def search(arguments: list[Any]) -> Found:
    return run(dict(zip(keys, arguments, strict=True)) | {"policy": policy})

  compiled = tf.function(search, reduce_retracing=True)
  return lambda inputs: compiled(
    [tf.nest.map_structure(tf.constant, inputs[key]) for key in keys]
  )


@pytest.mark.parametrize("policy", POLICIES)
def test_every_setting_may_come_at_run_time(policy: str) -> None:
  search = traced(policy)
  for seed in range(12):
    world = worlds.random_world(5)
    settings = cases.random_settings(world, seed)
    found = search(cases.inputs(world, policy, settings))
    assert cases.answers(found) == cases.expected(world, policy, settings)


@pytest.mark.parametrize("num_users", [0, 1, 17])
@pytest.mark.parametrize("policy", POLICIES)
def test_every_user_of_a_batch_is_answered(num_users: int, policy: str) -> None:
  world = worlds.random_world(5, num_users=num_users)
  settings = cases.random_settings(world, 5)
  found = run(cases.inputs(world, policy, settings))
  assert found.rows.shape == (num_users, settings.k)
  assert cases.answers(found) == cases.expected(world, policy, settings)


@pytest.mark.parametrize(
  ("name", "value"), [("widths", [0, 3, 3]), ("k", 0), ("k", -1)]
)
def test_numbers_below_one_are_refused(name: str, value: Any) -> None:
  world = worlds.random_world(1)
  inputs = cases.inputs(world, "paper")
  inputs[name] = np.array(value, np.int32)
  with pytest.raises(tf.errors.InvalidArgumentError, match=name):
    run(inputs)


def test_widths_of_no_step_are_refused() -> None:
  inputs = cases.inputs(worlds.random_world(1), "paper")
  inputs["widths"] = np.full(len(inputs["widths"]) + 7, 5, np.int32)
  with pytest.raises(tf.errors.InvalidArgumentError, match="nor one for each"):
    run(inputs)


def test_policy_with_too_few_levels_is_refused() -> None:
  policy = PaperPolicy((400, 200), (3, 1))
  assert policy.for_start_level(1) == policy
  with pytest.raises(ValueError, match="wanted 3"):
    policy.for_start_level(2)


def test_lower_start_level_keeps_the_lower_widths() -> None:
  policy = PaperPolicy((400, 200, 100), (3, 1, 1)).for_start_level(1)
  assert policy == PaperPolicy((400, 200), (3, 1))
  assert policy.num_steps == 4
