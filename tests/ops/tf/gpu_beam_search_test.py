"""The GPU kernel of Nann>BeamSearch against the plain definition.

Under the emulator: what a real GPU adds (its stream, its memory, XLA) is not
tested here.
"""

import functools
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import setup
from nann import ops
from tests import worlds
from tests.ops.tf import cases, gpu_kernel

POLICIES = ["best_first", "paper"]


def lookup(tables: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
  """Scores [B, n] of rows [B, n] by tables [B, I]."""
  return tf.gather(tables, rows, batch_dims=1)


@functools.cache
def lookup_function() -> tf.types.experimental.ConcreteFunction:
  return tf.function(lookup).get_concrete_function(
    tf.TensorSpec([None, None], tf.float32),
    tf.TensorSpec([None, None], tf.int64),
  )


def inputs(
  world: worlds.World,
  policy: str = "best_first",
  settings: cases.Settings | None = None,
) -> dict[str, Any]:
  """As of the CPU's kernel, with rows that may lie on a GPU."""
  made = cases.inputs(world, policy, settings)
  made["item_state"] = [np.arange(world.graph.num_rows)]
  made["scorer"] = lookup_function()
  return made


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("first", [0, 20])
def test_search_is_the_definition(first: int, policy: str) -> None:
  for seed in range(first, first + 20):
    world = worlds.random_world(seed)
    settings = cases.random_settings(world, seed)
    found = gpu_kernel.call(inputs(world, policy, settings))
    assert found.rows.shape == (3, settings.k)
    assert cases.answers(found) == cases.expected(world, policy, settings), seed


@pytest.mark.parametrize("num_users", [0, 1, 17])
def test_every_user_of_a_batch_is_answered(num_users: int) -> None:
  world = worlds.random_world(5, num_users=num_users)
  settings = cases.random_settings(world, 5)
  for policy in POLICIES:
    found = gpu_kernel.call(inputs(world, policy, settings))
    assert cases.answers(found) == cases.expected(world, policy, settings)


def test_ties_beyond_the_room_are_searched_again() -> None:
  graph = worlds.complete_graph(40)
  none = np.zeros((1, 0), np.int32)
  world = worlds.World(graph, np.zeros((1, 40), np.float32), none, none)
  settings = cases.Settings([1, 1], [3, 1], [], 3, None, None)
  found = gpu_kernel.call(inputs(world, "paper", settings))
  assert cases.answers(found) == cases.expected(world, "paper", settings)


def chain_of_stars(num_steps: int) -> dict[str, Any]:
  """A search whose steps ask for one row more each time."""
  values, splits, hub = [], [0], 0
  for step in range(num_steps):
    leaves = list(range(hub + 1, hub + 2 + 9 * step))
    values += leaves
    splits += [len(values)] * len(leaves)
    hub = leaves[-1]
  splits.append(len(values))
  num_rows = len(splits) - 1
  graph = worlds.HnswGraph(
    (worlds.Level(np.array(values, np.int32), np.array(splits, np.int64)),),
    np.zeros(1, np.int32),
  )
  scores = np.arange(num_rows, dtype=np.float32)[None]
  world = worlds.World(
    graph, scores, np.zeros((1, 1), np.int32), np.zeros((1, 0), np.int32)
  )
  settings = cases.Settings(
    [], [], [1, 1, num_steps + 1, num_rows], 1, None, None
  )
  return inputs(world, "best_first", settings)


def test_scorer_sees_few_shapes() -> None:
  seen = []

  def record(rows: np.ndarray) -> np.ndarray:
    seen.append(rows.shape)
    return rows

  @tf.function
  def scorer(tables: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    rows = tf.numpy_function(record, [rows], tf.int64)
    return lookup(tables, tf.ensure_shape(rows, [None, None]))

  arguments = chain_of_stars(30)
  arguments["scorer"] = scorer.get_concrete_function(
    tf.TensorSpec([None, None], tf.float32),
    tf.TensorSpec([None, None], tf.int64),
  )
  search = gpu_kernel.function_of(arguments)
  found = search()
  assert found.num_scored[0, -1] == 262
  assert set(seen) == {(1, 64), (1, 128), (1, 256), (1, 512)}
  assert len(seen) == 31


def compiled_search() -> Callable[[int], ops.Found]:
  """A search of so many steps at most, with a scorer that XLA compiles."""
  arguments = chain_of_stars(20)
  compiled = tf.function(lookup, jit_compile=True)

  # Passed directly, jit_compile would be ignored.
  @tf.function
  def scorer(tables: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    return compiled(tables, rows)

  arguments["scorer"] = scorer.get_concrete_function(
    tf.TensorSpec([None, None], tf.float32),
    tf.TensorSpec([None, None], tf.int64),
  )
  search = gpu_kernel.function_of(arguments)

  def of_steps(most: int) -> ops.Found:
    return search(limits=tf.constant([1, 1, most, 1 << 20], tf.int64))

  return of_steps


_COUNT_COMPILATIONS = """
import pathlib, sys
from tests.ops.tf import gpu_beam_search_test

def number():
  return len(list(pathlib.Path(sys.argv[1]).glob("*before_optimizations.txt")))

search = gpu_beam_search_test.compiled_search()
found = search(21)
print(int(found.num_scored.numpy().sum()), number(), end=" ")
for most in (21, 4, 13, 17, 1):
  search(most)
print(number())
"""


def test_compiled_scorer_is_compiled_once_for_a_shape(
  tmp_path: pathlib.Path,
) -> None:
  gpu_kernel.load()
  # XLA reads its flags once, when a process begins.
  flags = f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text"
  done = subprocess.run(
    [sys.executable, "-c", _COUNT_COMPILATIONS, str(tmp_path)],
    cwd=setup.ROOT,
    env={**os.environ, "XLA_FLAGS": flags},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  # Steps ask for 1 to 172 rows: 64, 128 and 256 with their padding. What comes
  # later is compiled already, however many rows it asks for.
  num_scored, first, later = done.stdout.split()[-3:]
  assert int(num_scored) == 1 + sum(1 + 9 * step for step in range(20))
  assert (int(first), int(later)) == (3, 3)


def test_kernel_is_asked_for_in_a_graph_only() -> None:
  with (
    pytest.raises(ValueError, match="use it in a tf.function"),
    ops.search_on_gpu(),
  ):
    pass


def test_score_that_is_no_number_is_told() -> None:
  world = worlds.random_world(1)
  world.scores[:] = np.nan
  with pytest.raises(
    tf.errors.InvalidArgumentError,
    match=r"the scorer gave nan for row \d+ of query \d, wanted a number",
  ):
    gpu_kernel.call(inputs(world))


def test_int32_that_a_gpu_keeps_elsewhere_is_refused() -> None:
  arguments = cases.inputs(worlds.random_world(1))
  with pytest.raises(tf.errors.InvalidArgumentError, match="cast it to int64"):
    gpu_kernel.call(arguments)


def test_wrong_number_of_scores_is_refused() -> None:
  arguments = inputs(worlds.random_world(1))
  arguments["scorer"] = tf.function(
    lambda tables, rows: lookup(tables, rows)[:, :-1]
  ).get_concrete_function(
    tf.TensorSpec([None, None], tf.float32),
    tf.TensorSpec([None, None], tf.int64),
  )
  with pytest.raises(
    tf.errors.InvalidArgumentError, match=r"scores of shape \[3,63\] for 64"
  ):
    gpu_kernel.call(arguments)


def test_model_of_other_memory_is_copied_anew() -> None:
  table = tf.Variable(np.arange(4, dtype=np.float32))

  @tf.function
  def scorer(tables: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
    return state + 0 * tables[:, :1]

  world = worlds.World(
    worlds.complete_graph(4),
    np.zeros((1, 4), np.float32),
    np.zeros((1, 1), np.int32),
    np.zeros((1, 0), np.int32),
  )
  arguments = cases.inputs(world)
  arguments["scorer"] = scorer.get_concrete_function(
    tf.TensorSpec([None, None], tf.float32),
    tf.TensorSpec([None, None], tf.float32),
  )

  gpu_kernel.load()

  @tf.function(autograph=False)
  def search() -> ops.Found:
    with ops.search_on_gpu():
      return ops.Found(
        *ops.library().nann_beam_search(
          **{**arguments, "item_state": [tf.identity(table)]}
        )
      )

  assert search().rows[0, 0] == 3
  table.assign(-table)
  assert search().rows[0, 0] == 0
