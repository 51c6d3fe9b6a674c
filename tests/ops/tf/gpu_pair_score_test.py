"""The GPU kernel of Nann>PairScore, under the emulator, against that of a CPU.

What a real GPU adds (its stream, its memory) is not tested here.
"""

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nann import ops
from tests.ops.cuda import pairs
from tests.ops.tf import gpu_kernel
from tests.ops.tf import pair_score_op_test as on_cpu

# What rounding of products to the type may reach, of the range of scores.
TOLERANCES = {
  np.float32: 1e-5,
  np.float16: pairs.WAYS["float16 in matrix units"].tolerance,
  on_cpu.DTYPES[2]: pairs.WAYS["bfloat16 in matrix units"].tolerance,
}


def run(case: on_cpu.Case) -> np.ndarray:
  """Scores by the kernel that was made for a GPU."""
  gpu_kernel.load()

  @tf.function(autograph=False)
  def scores() -> tf.Tensor:
    with ops.search_on_gpu():
      return case.scores()

  found: np.ndarray = scores().numpy()
  return found


@pytest.mark.parametrize("dtype", on_cpu.DTYPES)
@pytest.mark.parametrize("seed", range(12))
def test_scores_are_those_of_a_cpu(seed: int, dtype: Any) -> None:
  case = on_cpu.random_case(seed, dtype)
  for items in (case, on_cpu.with_own_items(case)):
    wanted, got = items.run(), run(items)
    assert got.shape == wanted.shape
    error = np.abs(got - wanted).max(initial=0)
    assert error <= TOLERANCES[dtype] * max(np.ptp(wanted), 1)


def whole_case(dtype: Any, num_users: int, num_items: int) -> on_cpu.Case:
  """A case whose every sum is a whole number; see `make_whole_world`."""
  world = pairs.make_whole_world("float32", num_users * num_items, num_users, 5)
  users, weights = world.users, world.weights
  assert users.hidden is not None
  return on_cpu.Case(
    query=world.query.reshape(num_users, num_items, -1).astype(dtype),
    hidden=world.hidden.reshape(num_users, num_items, -1).astype(dtype),
    keys=users.keys,
    key_bias=users.key_bias,
    values=users.values,
    user_hidden=users.hidden,
    slopes=list(weights.slopes),
    kernels=list(weights.kernels),
    biases=list(weights.biases),
    out=weights.out,
  )


@pytest.mark.parametrize("dtype", on_cpu.DTYPES)
@pytest.mark.parametrize("num_users", [1, 2, 33])
@pytest.mark.parametrize("num_items", [1, 64, 65])
def test_whole_numbers_are_scored_exactly(
  num_items: int, num_users: int, dtype: Any
) -> None:
  case = whole_case(dtype, num_users, num_items)
  np.testing.assert_array_equal(run(case), case.expected())


@pytest.mark.parametrize(("num_users", "num_items"), [(0, 3), (2, 0), (1, 0)])
def test_nobody_and_nothing_are_scored(num_users: int, num_items: int) -> None:
  case = on_cpu.plain_case()
  case = dataclasses.replace(
    case,
    query=case.query[:, :1].repeat(num_items, axis=1),
    hidden=case.hidden[:, :1].repeat(num_items, axis=1),
    keys=case.keys[:1].repeat(num_users, axis=0),
    key_bias=case.key_bias[:1].repeat(num_users, axis=0),
    values=case.values[:1].repeat(num_users, axis=0),
    user_hidden=case.user_hidden[:1].repeat(num_users, axis=0),
  )
  assert run(case).shape == (num_users, num_items)


def test_shapes_are_checked_as_on_a_cpu() -> None:
  change, message = on_cpu.REFUSED[-1]
  case = on_cpu.plain_case()
  change(case)
  with pytest.raises(tf.errors.InvalidArgumentError, match=message):
    run(case)


def test_more_layers_than_a_gpu_takes_are_refused() -> None:
  case = on_cpu.plain_case()
  case.slopes += 3 * [np.zeros(48, np.float32)]
  case.kernels += 3 * [np.zeros((48, 48), np.float32)]
  case.biases += 3 * [np.zeros(48, np.float32)]
  with pytest.raises(
    tf.errors.InvalidArgumentError,
    match="there are 5 kernels, wanted at most 4 on a GPU",
  ):
    run(case)
