"""Nann>PairScore against NumPy, on every instruction set; and fused scorers."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from nann import ops
from nann.model import scorer as scorers
from nann.model.layers import Phase
from nann.model.scorer import Items, ScorerSpec
from nann.retrieval import fused
from tests.conftest import run_python

INSTRUCTION_SETS = ["baseline", "avx2", "avx512"]
PADDING = -1e9
DTYPES = [np.float32, np.float16, ml_dtypes.bfloat16]


@dataclasses.dataclass
class Case:
  """Inputs of the op, by their names there."""

  query: np.ndarray
  hidden: np.ndarray
  keys: np.ndarray
  key_bias: np.ndarray
  values: np.ndarray
  user_hidden: np.ndarray
  slopes: list[np.ndarray]
  kernels: list[np.ndarray]
  biases: list[np.ndarray]
  out: np.ndarray

  def scores(self) -> tf.Tensor:
    inputs = {
      field.name: getattr(self, field.name)
      for field in dataclasses.fields(self)
    }
    inputs["query"] = tf.constant(self.query)
    return ops.library().nann_pair_score(**inputs)

  def run(self) -> np.ndarray:
    scores: np.ndarray = self.scores().numpy()
    return scores

  def expected(self) -> np.ndarray:
    """The same in float64."""
    x = self.hidden.astype(np.float64)
    if self.query.shape[2] > 0:
      query = self.query.astype(np.float64)
      logits = query @ self.keys + self.key_bias[:, None]  # [B, N, P]
      weights = np.exp(logits - logits.max(axis=2, keepdims=True))
      weights /= weights.sum(axis=2, keepdims=True)
      x = x + weights[..., : self.values.shape[1]] @ self.values
    if self.user_hidden.shape[1] > 0:
      x = x + self.user_hidden[:, None]
    x = np.broadcast_to(x, (len(self.keys), *x.shape[1:]))
    for slope, kernel, bias in zip(
      self.slopes, self.kernels, self.biases, strict=False
    ):
      x = np.where(x > 0, x, slope * x) @ kernel + bias
    scores: np.ndarray = np.where(x > 0, x, self.slopes[-1] * x) @ self.out
    return scores


def random_case(seed: int, dtype: Any = np.float32) -> Case:
  """Draws widths that are multiples of 16, and everything else."""
  rng = np.random.default_rng(seed)

  def normal(*shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)

  def width(least: int, most: int) -> int:
    return 16 * int(rng.integers(least, most + 1))

  num_users = int(rng.choice([1, 1, 2, 5]))
  num_items = int(rng.choice([1, 2, 5, 23, 24, 25, 49, 130]))
  query_width = width(0, 6) if rng.random() < 0.8 else 0
  length = int(rng.integers(0, 60))
  padded = -(-max(length, 1) // 16) * 16
  if query_width == 0 and rng.random() < 0.5:
    length = padded = 0
  key_bias = normal(num_users, padded)
  key_bias[:, length:] = PADDING
  if length > 1:
    key_bias[:, int(rng.integers(1, length)) :] = PADDING
  widths = [width(1, 9) for _ in range(int(rng.integers(1, 5)))]
  scale = 1 / np.sqrt(max(query_width, 1))
  return Case(
    query=normal(1, num_items, query_width).astype(dtype),
    hidden=normal(1, num_items, widths[0]).astype(dtype),
    keys=normal(num_users, query_width, padded) * np.float32(scale),
    key_bias=key_bias,
    values=normal(num_users, length, widths[0]),
    user_hidden=normal(num_users, widths[0] if rng.random() < 0.5 else 0),
    slopes=[normal(w) / 4 for w in widths],
    kernels=[
      normal(a, b) / np.float32(np.sqrt(a))
      for a, b in itertools.pairwise(widths)
    ],
    biases=[normal(w) for w in widths[1:]],
    out=normal(widths[-1]),
  )


def check(case: Case) -> None:
  got, wanted = case.run(), case.expected()
  assert got.shape == wanted.shape
  assert np.abs(got - wanted).max(initial=0) <= 1e-4 * max(
    1.0, np.abs(wanted).max(initial=0)
  )


def check_many(number: int) -> None:
  for seed in range(number):
    check(random_case(seed, DTYPES[seed % 3]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(60))
def test_scores_are_the_formula(seed: int, dtype: Any) -> None:
  check(random_case(seed, dtype))


def with_own_items(case: Case) -> Case:
  """Gives each user items of its own: the same, from another one on."""
  turned = [
    {"query": np.roll(case.query, i, 1), "hidden": np.roll(case.hidden, i, 1)}
    for i in range(len(case.keys))
  ]
  return dataclasses.replace(
    case,
    **{
      name: np.concatenate([items[name] for items in turned])
      for name in ("query", "hidden")
    },
  )


@pytest.mark.parametrize("seed", range(10))
def test_each_user_may_have_items_of_its_own(seed: int) -> None:
  case = random_case(seed, DTYPES[seed % 3])
  own = with_own_items(case)
  check(own)
  wanted = [np.roll(row, i) for i, row in enumerate(case.run())]
  np.testing.assert_array_equal(own.run(), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("name", INSTRUCTION_SETS)
def test_every_instruction_set_agrees(name: str) -> None:
  program = "from tests.ops.tf import pair_score_op_test as t; t.check_many(90)"
  done = run_python("-c", program, NANN_INSTRUCTION_SET=name)
  assert done.returncode == 0, done.stderr


def test_half_precision_has_its_whole_range() -> None:
  """Subnormal numbers, both zeros and infinity among them."""
  case = random_case(3, np.float16)
  every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
  every = every[~np.isnan(every) & (np.abs(every) < 100)]
  number = len(every) // 16
  case = dataclasses.replace(
    case,
    hidden=every[: number * 16].reshape(1, number, 16),
    query=np.zeros((1, number, 0), np.float16),
    keys=np.zeros((1, 0, 0), np.float32),
    key_bias=np.zeros((1, 0), np.float32),
    values=np.zeros((1, 0, 16), np.float32),
    user_hidden=np.zeros((1, 0), np.float32),
    slopes=[np.ones(16, np.float32)],
    kernels=[],
    biases=[],
    out=np.eye(16, dtype=np.float32)[5],
  )
  np.testing.assert_array_equal(case.run(), case.expected())


def test_history_of_padding_alone_weighs_its_values_alike() -> None:
  case = next(
    case
    for case in map(random_case, range(99))
    if case.query.shape[2] > 0 and case.values.shape[1] > 16
  )
  case.key_bias[:] = PADDING
  case.values[:] = 0
  scores = case.run()
  assert np.isfinite(scores).all()
  check(case)


def test_extreme_logits_give_numbers() -> None:
  case = next(
    case
    for case in map(random_case, range(99))
    if case.query.shape[2] > 0 and case.values.shape[1] > 16
  )
  case.keys *= 1e4
  assert np.isfinite(case.run()).all()


@pytest.mark.parametrize(("num_users", "num_items"), [(0, 3), (2, 0)])
def test_nobody_and_nothing_are_scored(num_users: int, num_items: int) -> None:
  case = random_case(1)
  case = dataclasses.replace(
    case,
    query=case.query[:, :1].repeat(num_items, axis=1),
    hidden=case.hidden[:, :1].repeat(num_items, axis=1),
    keys=case.keys[:1].repeat(num_users, axis=0),
    key_bias=case.key_bias[:1].repeat(num_users, axis=0),
    values=case.values[:1].repeat(num_users, axis=0),
    user_hidden=case.user_hidden[:1].repeat(num_users, axis=0),
  )
  assert case.run().shape == (num_users, num_items)


def test_many_items_are_shared_among_threads() -> None:
  case = random_case(2)
  number = 3001
  rng = np.random.default_rng(0)
  for name in ("query", "hidden"):
    shape = (1, number, getattr(case, name).shape[2])
    setattr(case, name, rng.normal(size=shape).astype(np.float32))
  check(case)


@pytest.mark.parametrize("name", ["attention", "dnn"])
@pytest.mark.parametrize("num_users", [1, 3])
def test_fused_scorer_is_the_scorer(name: str, num_users: int) -> None:
  spec = ScorerSpec(200, 5, emb_dim=8, seed=1)
  scorer = scorers.create(name, spec)
  rng = np.random.default_rng(0)
  # As if trained: nothing is where it began.
  for variable in scorer.variables:
    change = rng.uniform(0.5, 1.5, variable.shape).astype(np.float32)
    variable.assign(variable * change)
  items = Items(tf.range(1, 201, dtype=tf.int64), tf.repeat([1, 2], 100))
  items = Items(items.item_ids, tf.cast(items.category_ids, tf.int64))
  ids = rng.integers(1, 201, (num_users, 20))
  ids[0, 7:] = 0
  ids[-1] = 0
  history = Items(tf.constant(ids), tf.constant((ids > 0).astype(np.int64)))
  embedding = scorer.history_embedding(history)
  of_items = scorer.item_embedding(items, Phase.INFERENCE)
  parts = scorer.parts()
  assert fused.can_fuse(parts)

  def scores(parts: scorers.ScoringParts) -> np.ndarray:
    state = tf.nest.map_structure(
      lambda part: part[None], parts.item_state(items, of_items)
    )
    result: np.ndarray = parts.score(
      parts.user_state(history, embedding), state
    ).numpy()
    return result

  wanted, got = scores(parts), scores(fused.fuse(parts))
  assert got.shape == wanted.shape == (num_users, 200)
  np.testing.assert_allclose(got, wanted, atol=1e-4 * np.ptp(wanted), rtol=0)


Change = Callable[[Case], None]


def put(name: str, *shape: int) -> Change:
  return lambda case: setattr(case, name, np.zeros(shape, np.float32))


def put_into(name: str, place: int, *shape: int) -> Change:
  def change(case: Case) -> None:
    getattr(case, name)[place] = np.zeros(shape, np.float32)

  return change


def plain_case() -> Case:
  """Two users, three items, Q 16, P 32, L 20, W 32, layers of 16 and 48."""

  def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)

  return Case(
    query=zeros(1, 3, 16),
    hidden=zeros(1, 3, 32),
    keys=zeros(2, 16, 32),
    key_bias=zeros(2, 32),
    values=zeros(2, 20, 32),
    user_hidden=zeros(2, 32),
    slopes=[zeros(32), zeros(16), zeros(48)],
    kernels=[zeros(32, 16), zeros(16, 48)],
    biases=[zeros(16), zeros(48)],
    out=zeros(48),
  )


REFUSED = [
  (put("hidden", 2, 3, 32), "query has shape [1,3,16], wanted [2, 3, Q]"),
  (put("hidden", 1, 3, 20), "hidden has shape [1,3,20], wanted [1 or B, N, W]"),
  (put("hidden", 1, 3, 0), "hidden has shape [1,3,0], wanted [1 or B, N, W]"),
  (
    lambda case: case.__dict__.update(
      query=np.zeros((3, 3, 16), np.float32),
      hidden=np.zeros((3, 3, 32), np.float32),
    ),
    "hidden has shape [3,3,32], wanted 1 or 2 groups of items",
  ),
  (put("query", 1, 4, 16), "query has shape [1,4,16], wanted [1, 3, Q]"),
  (put("query", 1, 3, 8), "query has shape [1,3,8], wanted [1, 3, Q]"),
  (put("query", 3, 16), "query has shape [3,16], wanted [1, 3, Q]"),
  (put("query", 1, 3, 32), "keys has shape [2,16,32], wanted [B, 32, P]"),
  (put("keys", 2, 16, 20), "keys has shape [2,16,20], wanted [B, 16, P]"),
  (put("keys", 2, 16, 0), "keys has shape [2,16,0], wanted [B, 16, P]"),
  (put("keys", 3, 16, 32), "key_bias has shape [2,32], wanted [3, 32]"),
  (put("key_bias", 2, 31), "key_bias has shape [2,31], wanted [2, 32]"),
  (put("key_bias", 64), "key_bias has shape [64], wanted [2, 32]"),
  (
    put("values", 2, 33, 32),
    "values has shape [2,33,32], wanted [2, at most 32, 32]",
  ),
  (
    put("values", 2, 20, 16),
    "values has shape [2,20,16], wanted [2, at most 32, 32]",
  ),
  (
    put("user_hidden", 2, 16),
    "user_hidden has shape [2,16], wanted [2, 32 or 0]",
  ),
  (
    put("user_hidden", 1, 32),
    "user_hidden has shape [1,32], wanted [2, 32 or 0]",
  ),
  (put_into("slopes", 0, 16), "slopes[0] has shape [16], wanted [32]"),
  (put_into("slopes", 2, 1, 48), "slopes[2] has shape [1,48], wanted [48]"),
  (
    put_into("kernels", 0, 16, 16),
    "kernels[0] has shape [16,16], wanted [32, a multiple of 16]",
  ),
  (
    put_into("kernels", 1, 16, 40),
    "kernels[1] has shape [16,40], wanted [16, a multiple of 16]",
  ),
  (put_into("biases", 1, 16), "biases[1] has shape [16], wanted [48]"),
  (put("out", 32), "out has shape [32], wanted [48]"),
  (put("out", 48, 1), "out has shape [48,1], wanted [48]"),
  (
    lambda case: case.slopes.pop(),
    "there are 2 slopes, wanted 3",
  ),
]


@pytest.mark.parametrize(
  ("change", "message"), REFUSED, ids=[message for _, message in REFUSED]
)
def test_refuses(change: Change, message: str) -> None:
  case = plain_case()
  assert case.run().shape == (2, 3)
  change(case)
  with pytest.raises(tf.errors.InvalidArgumentError) as raised:
    case.run()
  assert message in str(raised.value)


def test_shape_is_known_before_the_scores() -> None:
  case = plain_case()
  with tf.Graph().as_default():
    inputs = {
      field.name: getattr(case, field.name)
      for field in dataclasses.fields(case)
    }
    scores = ops.library().nann_pair_score(**inputs)
    assert scores.shape == (2, 3)
