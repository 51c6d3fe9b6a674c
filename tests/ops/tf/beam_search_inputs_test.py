"""What Nann>BeamSearch refuses: each with the name, the value, the wish."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nann import ops
from nann.index.graph import HnswGraph, Level
from tests import worlds
from tests.ops.tf import cases

NUM_USERS, NUM_ROWS = 2, 5
Inputs = dict[str, Any]
Change = Callable[[Inputs], None]


def world() -> worlds.World:
  """Five rows in a ring, two levels, two users."""
  rows = np.arange(NUM_ROWS, dtype=np.int32)
  ring = Level((rows + 1) % NUM_ROWS, np.arange(NUM_ROWS + 1))
  return worlds.World(
    HnswGraph((ring, ring), rows[:2]),
    np.arange(10, dtype=np.float32).reshape(NUM_USERS, NUM_ROWS),
    np.array([[0], [1]], np.int32),
    np.array([[2], [3]], np.int32),
  )


def put(name: str, value: Any) -> Change:
  """Replaces an input."""
  return lambda inputs: inputs.update({name: value})


def put_into(name: str, place: int, entry: int, value: Any) -> Change:
  """Replaces a number in one tensor of a list."""

  def change(inputs: Inputs) -> None:
    tensors = [np.array(tensor) for tensor in inputs[name]]
    tensors[place][entry] = value
    inputs[name] = tensors

  return change


def put_tensor(name: str, place: int, value: Any) -> Change:
  """Replaces one tensor of a list."""

  def change(inputs: Inputs) -> None:
    inputs[name] = list(inputs[name])
    inputs[name][place] = value

  return change


def scorer(function: Callable[..., tf.Tensor]) -> Change:
  """Replaces the scorer: (table [1, I], rows [1, n]) -> scores."""
  concrete = tf.function(function, autograph=False).get_concrete_function(
    tf.TensorSpec([1, None], tf.float32), tf.TensorSpec([1, None], tf.int32)
  )
  return put("scorer", concrete)


def column(*rows: int) -> np.ndarray:
  return np.array([[row] for row in rows], np.int32)


def longs(*values: int) -> np.ndarray:
  return np.array(values, np.int64)


EITHER_POLICY = {
  "neighbor above": (
    put_into("values", 0, 3, 5),
    "level 0: neighbor 3 is 5, outside [0, 5)",
  ),
  "neighbor below": (
    put_into("values", 1, 0, -1),
    "level 1: neighbor 0 is -1, outside [0, 5)",
  ),
  "values of rank 2": (
    put_tensor("values", 1, np.zeros((5, 1), np.int32)),
    "values[1] has shape [5,1], wanted 1 dimension",
  ),
  "row_splits of rank 0": (
    put_tensor("row_splits", 0, np.int64(0)),
    "row_splits[0] has shape [], wanted 1 dimension",
  ),
  "row_splits begin late": (
    put_into("row_splits", 0, 0, 1),
    "level 0: row_splits goes from 1 to 5, wanted 0 to 5",
  ),
  "row_splits end early": (
    put_into("row_splits", 1, 5, 4),
    "level 1: row_splits goes from 0 to 4, wanted 0 to 5",
  ),
  "row_splits decrease": (
    put_into("row_splits", 0, 2, 4),
    "level 0: row_splits decreases from 4 to 3 after row 2",
  ),
  "row_splits below 0": (
    put_into("row_splits", 0, 1, -7),
    "level 0: row_splits decreases from 0 to -7 after row 0",
  ),
  "levels of two sizes": (
    put_tensor("row_splits", 1, longs(0, 5)),
    "level 1: row_splits has 2 entries, wanted 6",
  ),
  "no row": (
    put("row_splits", [longs(0), longs(0)]),
    "the graph has no row",
  ),
  "no row_splits": (
    put("row_splits", [longs(), longs()]),
    "the graph has no row",
  ),
  "no entry point": (
    put("entry_points", np.zeros(0, np.int32)),
    "the graph has no entry point",
  ),
  "entry point above": (
    put("entry_points", np.array([0, 5], np.int32)),
    "entry point 1 is 5, outside [0, 5)",
  ),
  "entry point below": (
    put("entry_points", np.array([-1], np.int32)),
    "entry point 0 is -1, outside [0, 5)",
  ),
  "entry points of rank 2": (
    put("entry_points", np.zeros((1, 1), np.int32)),
    "entry_points has shape [1,1], wanted 1 dimension",
  ),
  "expand of rank 1": (
    put("expand", np.zeros(2, np.int32)),
    "expand has shape [2], wanted 2 dimensions",
  ),
  "expand above": (
    put("expand", column(0, 5)),
    "query 1: expand[0] = 5 is outside [0, 5)",
  ),
  "only_score above": (
    put("only_score", np.array([[0, 2**31 - 1], [0, 0]], np.int32)),
    "query 0: only_score[1] = 2147483647 is outside [0, 5)",
  ),
  "only_score of another batch": (
    put("only_score", column(0, 0, 0)),
    "only_score has shape [3,1], wanted a row for each of 2 queries",
  ),
  "denied above": (
    put("denied", column(-1, 9)),
    "query 1: denied[0] = 9 is outside [0, 5)",
  ),
  "denied of another batch": (
    put("denied", column(0)),
    "denied has shape [1,1], wanted a row for each of 2 queries",
  ),
  "allowed of another width": (
    put("allowed", np.zeros((NUM_USERS, 2), np.uint8)),
    "allowed has shape [2,2], wanted [2,1]: a bit for each of 5 rows",
  ),
  "allowed of another batch": (
    put("allowed", np.zeros((1, 1), np.uint8)),
    "allowed has shape [1,1], wanted a row for each of 2 queries",
  ),
  "allowed of rank 1": (
    put("allowed", np.zeros(1, np.uint8)),
    "allowed has shape [1], wanted 2 dimensions",
  ),
  "k of 0": (put("k", np.int32(0)), "k is 0, wanted 1 to 1048576"),
  "k below 0": (put("k", np.int32(-3)), "k is -3, wanted 1 to 1048576"),
  "largest k": (
    put("k", np.int32(2**31 - 1)),
    "k is 2147483647, wanted 1 to 1048576",
  ),
  "k of rank 1": (
    put("k", np.array([3], np.int32)),
    "k has shape [1], wanted 0 dimensions",
  ),
  "user_state of another batch": (
    put_tensor("user_state", 0, np.zeros((3, NUM_ROWS), np.float32)),
    "user_state[0] has shape [3,5], wanted 2 along the first dimension",
  ),
  "user_state of rank 0": (
    put_tensor("user_state", 0, np.float32(0)),
    "user_state[0] has shape [], wanted 2 along the first dimension",
  ),
  "item_state too short": (
    put_tensor("item_state", 0, np.zeros(4, np.int32)),
    "item_state[0] has shape [4], wanted 5 along the first dimension",
  ),
  "item_state of strings": (
    put_tensor("item_state", 0, np.array(["a"] * NUM_ROWS)),
    "item_state[0] is of type string, wanted numbers",
  ),
  "no user_state": (
    put("user_state", []),
    "the scorer takes 2 arguments, user_state, item_state and captured are 1",
  ),
  "captured too many": (
    put("captured", [np.float32(1)]),
    "the scorer takes 2 arguments, user_state, item_state and captured are 3",
  ),
  "state of another type": (
    put_tensor("user_state", 0, np.zeros((2, 5), np.float64)),
    "argument 0 of the scorer is float, got double",
  ),
  "scorer of float64": (
    scorer(lambda table, rows: tf.cast(rows, tf.float64)),
    "the scorer returns double, wanted one float",
  ),
  "scorer of two results": (
    scorer(lambda table, rows: (table, table)),
    "the scorer returns float, float, wanted one float",
  ),
  "scorer of nothing": (
    scorer(lambda table, rows: None),
    "the scorer returns nothing, wanted one float",
  ),
  "scorer of too many scores": (
    scorer(lambda table, rows: table),
    "the scorer gave scores of shape [1,5] for 2 rows",
  ),
  "scorer of too few scores": (
    scorer(lambda table, rows: table[0, 0]),
    "the scorer gave scores of shape [] for 2 rows",
  ),
  "scorer of NaN": (
    scorer(lambda table, rows: tf.cast(rows, tf.float32) * np.nan),
    "the scorer gave nan for row ",
  ),
  "scorer that fails": (
    scorer(lambda table, rows: tf.gather(table[0], rows + 9)),
    "is not in [0, 5)",
  ),
}

PAPER = {
  "widths too short": (
    put("widths", np.array([1, 1], np.int32)),
    "widths has 2 entries, wanted 3",
  ),
  "width of 0": (
    put("widths", np.array([1, 0, 1], np.int32)),
    "widths[1] is 0, wanted at least 1",
  ),
  "widths of rank 2": (
    put("widths", np.ones((3, 1), np.int32)),
    "widths has shape [3,1], wanted 1 dimension",
  ),
  "hops too long": (
    put("hops", np.array([1, 1, 1, 1], np.int32)),
    "hops has 4 entries, wanted 3",
  ),
  "hops below 0": (
    put("hops", np.array([-1, 1, 1], np.int32)),
    "hops[0] is -1, wanted at least 1",
  ),
  "entry points scored twice": (
    put("hops", np.array([1, 1, 2], np.int32)),
    "hops ends with 2, wanted 1",
  ),
  "too many hops": (
    put("hops", np.array([2**31 - 1, 2**31 - 1, 1], np.int32)),
    "hops add up to 4294967295, wanted at most 1048576",
  ),
}

BEST_FIRST = {
  "limits too short": (
    put("limits", longs(1, 1, 1)),
    "limits has shape [3], wanted [4]: ef, width, max_steps, max_evaluations",
  ),
  "limits of rank 2": (
    put("limits", np.ones((2, 2), np.int64)),
    "limits has shape [2,2], wanted [4]",
  ),
  "ef of 0": (put("limits", longs(0, 1, 1, 1)), "ef is 0, wanted at least 1"),
  "width of 0": (
    put("limits", longs(1, 0, 1, 1)),
    "width is 0, wanted at least 1",
  ),
  "no step": (
    put("limits", longs(1, 1, 0, 1)),
    "max_steps is 0, wanted at least 1",
  ),
  "no evaluation": (
    put("limits", longs(1, 1, 1, -5)),
    "max_evaluations is -5, wanted at least 1",
  ),
  "too many steps": (
    put("limits", longs(1, 1, 2**30, 1)),
    "a search may take 1073741824 steps, wanted at most 1048576",
  ),
}


def named(faults: dict[str, tuple[Change, str]], policy: str) -> list[Any]:
  return [
    pytest.param(policy, *fault, id=f"{policy}: {name}")
    for name, fault in faults.items()
  ]


@pytest.mark.parametrize(
  ("policy", "change", "message"),
  [
    *named(EITHER_POLICY, "best_first"),
    *named(EITHER_POLICY, "paper"),
    *named(PAPER, "paper"),
    *named(BEST_FIRST, "best_first"),
  ],
)
def test_refuses(policy: str, change: Change, message: str) -> None:
  inputs = cases.inputs(world(), policy)
  change(inputs)
  with pytest.raises(tf.errors.InvalidArgumentError) as raised:
    cases.call(inputs)
  assert message in str(raised.value)
  # The next call is none the worse.
  found = cases.call(cases.inputs(world(), policy))
  assert found.rows.numpy()[:, 0].tolist() == [4, 4]


def test_bad_k_is_refused_where_nobody_asks() -> None:
  nobody = cases.inputs(worlds.random_world(1, num_users=0))
  with pytest.raises(tf.errors.InvalidArgumentError, match="k is -1, wanted"):
    cases.call(nobody | {"k": np.int32(-1)})


@pytest.mark.parametrize("most", [2**40, 2**63 - 1])
def test_beam_wider_than_memory_is_a_wide_beam(most: int) -> None:
  inputs = cases.inputs(world())
  found = cases.call(inputs | {"limits": longs(most, most, 100, most)})
  assert found.rows.numpy().tolist() == [[4, 3, 2, 1, 0]] * 2


def test_widest_beams_of_the_paper_are_wide_beams() -> None:
  inputs = cases.inputs(world(), "paper")
  inputs |= {"widths": np.full(3, 2**31 - 1, np.int32)}
  inputs |= {"hops": np.array([9, 9, 1], np.int32)}
  found = cases.call(inputs)
  assert found.rows.numpy().tolist() == [[4, 3, 2, 1, 0]] * 2


def test_largest_k_is_padded() -> None:
  found = cases.call(cases.inputs(world()) | {"k": np.int32(1 << 20)})
  assert found.rows.shape == (NUM_USERS, 1 << 20)
  assert (found.rows.numpy()[:, 5:] == -1).all()
  assert (found.scores.numpy()[:, 5:] == -np.inf).all()


def test_infinite_scores_are_scores() -> None:
  inputs = cases.inputs(world())
  table = np.array([[0, np.inf, 1, -np.inf, 2]] * 2, np.float32)
  found = cases.call(inputs | {"user_state": [table]})
  assert found.rows.numpy().tolist() == [[1, 4, 2, 0, 3]] * 2


def test_slices_of_one_tensor_are_checked_each() -> None:
  """They share a buffer, and so must not be taken for one graph."""
  good = np.arange(16, dtype=np.int32)
  both = tf.constant(np.stack([good, good + 1000]))

  @tf.function(input_signature=[tf.TensorSpec([16], tf.int32)])
  def search(values: tf.Tensor) -> tf.Tensor:
    return ops.beam_search(
      [(values, tf.range(17, dtype=tf.int64))],
      tf.constant([0]),
      lambda user, items: items,
      tf.zeros([1, 1]),
      tf.zeros([16]),
      tf.constant([[3]]),
      tf.zeros([1, 0], tf.int32),
      1,
      limits=[4, 1, 9, 99],
    ).rows

  assert search(both[0]).numpy().tolist() == [[3]]
  with pytest.raises(tf.errors.InvalidArgumentError, match="outside"):
    search(both[1])
