"""Nann>PairUser against NumPy, on every instruction set; and fused users."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nann import ops
from nann.model import scorer as scorers
from nann.model.scorer import Items, ScorerSpec
from nann.retrieval import fused
from tests.conftest import run_python

INSTRUCTION_SETS = ["baseline", "avx2", "avx512"]
PADDING = -1e9


@dataclasses.dataclass
class Case:
  """Inputs of the op, by their names there."""

  embedding: np.ndarray
  first: np.ndarray
  first_bias: np.ndarray
  slope: np.ndarray
  second: np.ndarray
  second_bias: np.ndarray
  values_kernel: np.ndarray
  mask_padding: bool = True

  def run(self) -> list[np.ndarray]:
    inputs = {
      field.name: getattr(self, field.name)
      for field in dataclasses.fields(self)
    }
    return [x.numpy() for x in ops.library().nann_pair_user(**inputs)]

  def expected(self) -> list[np.ndarray]:
    """The same in float64."""
    embedding = self.embedding.astype(np.float64)
    taken = (embedding != 0).any(axis=2)
    if self.mask_padding:
      places = np.flatnonzero(taken.any(axis=0))
      length = max(places[-1] + 1 if len(places) else 0, 1)
      embedding, taken = embedding[:, :length], taken[:, :length]
    values = embedding @ self.values_kernel
    length = embedding.shape[1]
    missing = [(0, 0), (0, -length % 16)]
    embedding = np.pad(embedding, [*missing, (0, 0)])
    hidden = embedding @ self.first.T + self.first_bias
    hidden = np.where(hidden > 0, hidden, self.slope * hidden)
    both = hidden @ self.second.T + self.second_bias  # [B, P, Q + 1]
    if self.mask_padding:
      both[..., -1] += np.where(np.pad(taken, missing), 0, PADDING)
    both[:, length:, -1] = PADDING
    return [both[..., :-1].transpose(0, 2, 1), both[..., -1], values]


def random_case(seed: int) -> Case:
  """Draws sizes, weights, and histories of any length with holes."""
  rng = np.random.default_rng(seed)

  def normal(*shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)

  num_users, length = int(rng.integers(1, 4)), int(rng.integers(1, 70))
  inputs, hidden = int(rng.integers(1, 70)), int(rng.integers(1, 70))
  query_width = 16 * int(rng.integers(0, 5))
  embedding = normal(num_users, length, inputs)
  for user in range(num_users):
    embedding[user, int(rng.integers(0, length + 1)) :] = 0
    embedding[user, int(rng.integers(0, length))] = 0
  return Case(
    embedding,
    normal(hidden, inputs) / np.float32(np.sqrt(inputs)),
    normal(hidden),
    normal(hidden),
    normal(query_width + 1, hidden) / np.float32(np.sqrt(hidden)),
    normal(query_width + 1),
    normal(inputs, 16 * int(rng.integers(1, 5))),
    mask_padding=bool(rng.random() < 0.7),
  )


def check(case: Case) -> None:
  for got, wanted in zip(case.run(), case.expected(), strict=True):
    assert got.shape == wanted.shape
    near = wanted > PADDING / 2
    np.testing.assert_allclose(got[near], wanted[near], rtol=0, atol=1e-4)
    assert (got[~near] < PADDING / 2).all()


def check_many(number: int) -> None:
  for seed in range(number):
    check(random_case(seed))


@pytest.mark.parametrize("seed", range(60))
def test_users_are_the_formula(seed: int) -> None:
  check(random_case(seed))


@pytest.mark.parametrize("name", INSTRUCTION_SETS)
def test_every_instruction_set_agrees(name: str) -> None:
  program = "from tests.ops.tf import pair_user_op_test as t; t.check_many(60)"
  done = run_python("-c", program, NANN_INSTRUCTION_SET=name)
  assert done.returncode == 0, done.stderr


def test_history_of_padding_alone_keeps_one_position() -> None:
  case = random_case(0)
  case.embedding[:] = 0
  case.mask_padding = True
  keys, bias, values = case.run()
  assert keys.shape[2] == bias.shape[1] == 16
  assert values.shape[1] == 1
  assert not values.any()
  assert (bias < PADDING / 2).all()


def test_nobody_is_laid_out() -> None:
  case = random_case(1)
  case.embedding = case.embedding[:0]
  assert [len(result) for result in case.run()] == [0, 0, 0]


REFUSED: list[tuple[str, tuple[int, ...], str]] = [
  ("embedding", (2, 8), "embedding has shape [2,8], wanted [any, any, any]"),
  ("first", (4, 9), "first has shape [4,9], wanted [any, 8]"),
  ("first_bias", (5,), "first_bias has shape [5], wanted [4]"),
  ("slope", (4, 1), "slope has shape [4,1], wanted [4]"),
  ("second", (17, 5), "second has shape [17,5], wanted [any, 4]"),
  ("second_bias", (16,), "second_bias has shape [16], wanted [17]"),
  ("values_kernel", (9, 16), "values_kernel has shape [9,16], wanted [8, any]"),
  ("values_kernel", (8, 20), "values_kernel 20 columns, wanted at least 1"),
]


@pytest.mark.parametrize(("name", "shape", "message"), REFUSED)
def test_refuses(name: str, shape: tuple[int, ...], message: str) -> None:
  def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)

  case = Case(
    zeros(2, 3, 8),
    zeros(4, 8),
    zeros(4),
    zeros(4),
    zeros(17, 4),
    zeros(17),
    zeros(8, 16),
  )
  assert len(case.run()) == 3
  setattr(case, name, zeros(*shape))
  with pytest.raises(tf.errors.InvalidArgumentError) as raised:
    case.run()
  assert message in str(raised.value)


@pytest.mark.parametrize("mask_padding", [True, False])
@pytest.mark.parametrize("length", [1, 16, 21])
def test_fused_user_is_the_user(length: int, mask_padding: bool) -> None:
  scorer = _scorer(mask_padding)
  rng = np.random.default_rng(0)
  ids = rng.integers(1, 201, (3, length))
  ids[0, length // 2 + 1 :] = 0
  ids[-1] = 0
  history = Items(tf.constant(ids), tf.constant((ids > 0).astype(np.int64)))
  embedding = scorer.history_embedding(history)
  parts = scorer.parts()
  assert parts.network is not None
  assert parts.network.history is not None
  in_stock_ops = parts._replace(network=parts.network._replace(history=None))
  got = fused.fuse(parts).user_state(history, embedding)
  wanted = fused.fuse(in_stock_ops).user_state(history, embedding)
  length = wanted.values.shape[1]
  for a, b in zip(got, wanted, strict=True):
    assert a.shape == b.shape
    if a is got.keys:
      # What stands beyond a history weighs nothing.
      a, b = a[..., :length], b[..., :length]
    scale = float(np.abs(b.numpy()[b.numpy() > PADDING / 2]).max(initial=0))
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * scale)


def test_fused_user_is_one_op() -> None:
  user_state = fused.fuse(_scorer(mask_padding=True).parts()).user_state
  traced = tf.function(lambda embedding: user_state(None, embedding))
  graph = traced.get_concrete_function(tf.TensorSpec([None, None, 16])).graph
  kinds = [operation.type for operation in graph.get_operations()]
  assert "Nann>PairUser" in kinds
  assert "MatMul" not in kinds


def _scorer(mask_padding: bool) -> Any:
  """As if trained: nothing is where it began."""
  spec = ScorerSpec(200, 5, emb_dim=8, seed=1, mask_padding=mask_padding)
  scorer = scorers.create("attention", spec)
  rng = np.random.default_rng(0)
  for variable in scorer.variables:
    change = rng.uniform(0.5, 1.5, variable.shape).astype(np.float32)
    variable.assign(variable * change + np.float32(0.01))
  return scorer
