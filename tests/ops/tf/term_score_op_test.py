"""Nann>TermScore against the scorer that it stands for."""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from nann import ops
from nann.model import terms
from nann.model.layers import Phase
from nann.model.nann_plus import NannPlusScorer
from nann.model.scorer import ScorerSpec
from nann.retrieval import fused
from tests.conftest import run_python
from tests.nann.model import nann_plus_test
from tests.nann.model.scorers_test import items

INSTRUCTION_SETS = ["baseline", "avx2", "avx512"]
PADDING = -1e9
DTYPES = [np.float32, np.float16, ml_dtypes.bfloat16]

State = dict[str, np.ndarray]


@dataclasses.dataclass
class Case:
  """The states of N items and of B users, as scorer nann_plus makes them."""

  item: State
  user: State

  def run(self) -> np.ndarray:
    item = tf.nest.map_structure(tf.constant, self.item)
    return ops.term_score(item, self.user, terms.MAX_LOGIT).numpy()

  def expected(self) -> np.ndarray:
    scorer = _scorer("query" in self.item, "item_id" in self.item)
    item = {
      name: values if values.dtype == np.int32 else values.astype(np.float32)
      for name, values in self.item.items()
    }
    return scorer.score(self.user, item, Phase.INFERENCE).numpy()


@functools.cache
def _scorer(attention_term: bool, repeats: bool) -> NannPlusScorer:
  spec = ScorerSpec(3, 2, attention_term=attention_term, repeats=repeats)
  return NannPlusScorer(spec)


def random_case(
  seed: int, dtype: Any = np.float32, num_items: int | None = None
) -> Case:
  """Draws sizes, which parts there are, and everything else."""
  rng = np.random.default_rng(seed)

  def normal(*shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)

  def ids(*shape: int) -> np.ndarray:
    return rng.integers(1, 9, shape).astype(np.int32)

  users = int(rng.choice([1, 1, 2, 5]))
  number = int(rng.choice([0, 1, 2, 23, 24, 25, 49, 130]))
  number = number if num_items is None else num_items
  width = int(rng.choice([1, 16, 33, 256]))
  length = int(rng.choice([1, 2, 16, 17, 50, 64]))
  counts = rng.integers(0, length + 1, users)
  counts[0] = length
  valid = (np.arange(length) < counts[:, None]).astype(np.float32)
  item = {"vector": normal(1, number, width), "bias": normal(1, number)}
  user = {"vector": normal(users, width) / np.float32(np.sqrt(width))}
  if seed % 4 < 2:
    query_width = int(rng.choice([16, 32, 48]))
    item["query"] = normal(1, number, query_width)
    item["reply"] = normal(1, number, query_width)
    # Some logits are bounded, most are not.
    user["keys"] = normal(users, query_width, length)
    user["key_logits"] = normal(users, length) * valid + (1 - valid) * PADDING
    user["values"] = normal(users, length, query_width) * valid[..., None]
  state = {name: values.astype(dtype) for name, values in item.items()}
  if seed % 2 == 0:
    state["category_id"], state["item_id"] = ids(1, number), ids(1, number)
    # Items that occur twice, and a mass of 0 among them.
    user["category_ids"], user["item_ids"] = (
      ids(users, length),
      ids(users, length),
    )
    user["category_weights"] = normal(users, length) * valid
    user["repeat_mass"] = np.exp(4 * normal(users, length)) * valid
  return Case(state, user)


def check(case: Case) -> None:
  got, wanted = case.run(), case.expected()
  assert got.shape == wanted.shape
  finite = wanted[np.isfinite(wanted)]
  scale = 1 + np.abs(finite).max(initial=0)
  np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5 * scale)


def check_many(number: int) -> None:
  for seed in range(number):
    check(random_case(seed, DTYPES[seed % 3]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(80))
def test_scores_are_the_scorers(seed: int, dtype: Any) -> None:
  check(random_case(seed, dtype))


@pytest.mark.slow
@pytest.mark.parametrize("name", INSTRUCTION_SETS)
def test_every_instruction_set_agrees(name: str) -> None:
  program = "from tests.ops.tf import term_score_op_test as t; t.check_many(90)"
  done = run_python("-c", program, NANN_INSTRUCTION_SET=name)
  assert done.returncode == 0, done.stderr


# An infinity in a product of the attention may come out as "no number".
ADDED = ("vector", "bias", "category_weights", "repeat_mass")


@pytest.mark.parametrize("seed", range(0, 400, 4))
def test_what_is_no_number_comes_through(seed: int) -> None:
  """Seeds of cases with every part."""
  case = random_case(seed, DTYPES[seed % 3], num_items=30)
  rng = np.random.default_rng(seed)
  side = case.item if rng.random() < 0.5 else case.user
  names = [name for name, values in side.items() if values.dtype != np.int32]
  name = names[seed // 4 % len(names)]
  bad = rng.choice([np.nan, np.inf, -np.inf]) if name in ADDED else np.nan
  side[name].flat[0] = bad
  got, wanted = case.run(), case.expected()
  # A mass beside exp(-inf): there the scorer says "no number", see below.
  mass = case.user.pop("repeat_mass")
  case.user["repeat_mass"] = np.zeros_like(mass)
  nothing = np.isneginf(case.expected())
  np.testing.assert_allclose(
    got[~nothing], wanted[~nothing], rtol=1e-5, atol=1e-4
  )


@pytest.mark.parametrize("score", [-np.inf, -3e38, -1e4, 0, 100, 1e4, 3e38])
@pytest.mark.parametrize("mass", [1e-37, 1.0, 1e38])
def test_masses_and_scores_may_be_extreme(score: float, mass: float) -> None:
  case = random_case(2, num_items=40)  # Without attention.
  case.item["bias"][:] = score
  case.user["repeat_mass"][:] = mass / 8
  got = case.run()
  same = case.user["item_ids"][:, None] == case.item["item_id"][..., None]
  total = (same * mass / 8).sum(axis=2)
  assert 0 < (total > 0).sum() < total.size
  case.user["repeat_mass"][:] = 0
  with np.errstate(divide="ignore"):
    wanted = np.logaddexp(case.expected().astype(np.float64), np.log(total))
  np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_history_of_padding_alone_says_nothing() -> None:
  case = random_case(0, num_items=10)
  case.user["key_logits"][:] = PADDING
  case.user["values"][:] = 0
  case.user["repeat_mass"][:] = case.user["category_weights"][:] = 0
  vector = case.item["vector"][0] @ case.user["vector"].T
  wanted = (vector + case.item["bias"][0][:, None]).T
  np.testing.assert_allclose(case.run(), wanted, atol=1e-5)
  check(case)


@pytest.mark.parametrize("seed", range(4))
def test_nobody_and_nothing_are_scored(seed: int) -> None:
  case = random_case(seed, num_items=0)
  assert case.run().shape == (len(case.user["vector"]), 0)
  case = random_case(seed, num_items=3)
  case.user = {name: values[:0] for name, values in case.user.items()}
  assert case.run().shape == (0, 3)


@pytest.mark.parametrize("seed", range(4))
def test_history_without_positions_is_scored(seed: int) -> None:
  case = random_case(seed, num_items=3)
  axes = {"keys": 2, "vector": None}
  case.user = {
    name: values
    if axes.get(name, 1) is None
    else np.take(values, [], axis=axes.get(name, 1))
    for name, values in case.user.items()
  }
  check(case)


@pytest.mark.parametrize("seed", range(4))
def test_many_items_are_shared_among_threads(seed: int) -> None:
  check(random_case(seed, DTYPES[seed % 3], num_items=3001))


@pytest.mark.parametrize("on", itertools.product([False, True], repeat=5))
def test_every_choice_of_parts_is_scored_in_one_op(on: tuple) -> None:
  parts_on = dict(zip(nann_plus_test.PARTS, on, strict=True))
  scorer = nann_plus_test.make(**parts_on)
  history = items([3, 9, 3, 27, 0], [8, 8, 8, 50, 2], [0, 0, 0, 0, 0])
  everything = nann_plus_test.EVERYTHING
  parts = scorer.parts()
  assert fused.can_fuse(parts)
  user = parts.user_state(history, scorer.history_embedding(history))
  state = tf.nest.map_structure(
    lambda part: part[None],
    parts.item_state(
      everything, scorer.item_embedding(everything, Phase.INFERENCE)
    ),
  )
  wanted = parts.score(user, state).numpy()
  assert wanted.shape == (3, nann_plus_test.NUM_ITEMS)
  traced = tf.function(fused.fuse(parts).score).get_concrete_function(
    user, state
  )
  got = traced(*tf.nest.flatten([user, state])).numpy()
  np.testing.assert_allclose(got, wanted, atol=1e-6 * np.ptp(wanted), rtol=0)
  kinds = {operation.type for operation in traced.graph.get_operations()}
  assert "Nann>TermScore" in kinds
  assert not kinds & {"MatMul", "BatchMatMulV2", "Softmax", "Equal"}


def plain_case() -> Case:
  """Two users, three items, D 8, Q 16, L 5."""

  def zeros(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)

  return Case(
    {
      "vector": zeros(1, 3, 8),
      "bias": zeros(1, 3),
      "query": zeros(1, 3, 16),
      "reply": zeros(1, 3, 16),
      "category_id": zeros(1, 3, dtype=np.int32),
      "item_id": zeros(1, 3, dtype=np.int32),
    },
    {
      "vector": zeros(2, 8),
      "keys": zeros(2, 16, 5),
      "key_logits": zeros(2, 5),
      "values": zeros(2, 5, 16),
      "category_ids": zeros(2, 5, dtype=np.int32),
      "category_weights": zeros(2, 5),
      "item_ids": zeros(2, 5, dtype=np.int32),
      "repeat_mass": zeros(2, 5),
    },
  )


Change = Callable[[Case], None]


def of_item(name: str, *shape: int) -> Change:
  def change(case: Case) -> None:
    case.item[name] = np.zeros(shape, case.item[name].dtype)

  return change


def of_user(name: str, *shape: int) -> Change:
  def change(case: Case) -> None:
    case.user[name] = np.zeros(shape, case.user[name].dtype)

  return change


REFUSED = [
  (
    of_item("vector", 2, 3, 8),
    "vector has shape [2,3,8], wanted [1, any, any]",
  ),
  (of_item("bias", 1, 4), "bias has shape [1,4], wanted [1, 3]"),
  (of_item("query", 1, 4, 16), "query has shape [1,4,16], wanted [1, 3, any]"),
  (of_item("query", 1, 3, 8), "query has width 8, wanted a multiple of 16"),
  (of_item("reply", 1, 3, 32), "reply has shape [1,3,32], wanted [1, 3, 16]"),
  (of_item("category_id", 1, 0), "category_id has shape [1,0], wanted [1, 3]"),
  (of_item("item_id", 2, 3), "item_id has shape [2,3], wanted [1, 3]"),
  (of_user("vector", 2, 9), "user_vector has shape [2,9], wanted [any, 8]"),
  (of_user("keys", 2, 17, 5), "keys has shape [2,17,5], wanted [2, 16, any]"),
  (of_user("keys", 3, 16, 5), "keys has shape [3,16,5], wanted [2, 16, any]"),
  (of_user("key_logits", 2, 4), "key_logits has shape [2,4], wanted [2, 5]"),
  (of_user("values", 2, 16, 5), "values has shape [2,16,5], wanted [2, 5, 16]"),
  (of_user("item_ids", 10), "item_ids has shape [10], wanted [2, any]"),
  (of_user("item_ids", 2, 0), "category_ids has shape [2,5], wanted [2, 0]"),
  (
    of_user("category_weights", 2, 6),
    "category_weights has shape [2,6], wanted [2, 5]",
  ),
  (of_user("repeat_mass", 1, 5), "repeat_mass has shape [1,5], wanted [2, 5]"),
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


def test_bound_below_zero_is_refused() -> None:
  case = plain_case()
  with pytest.raises(tf.errors.InvalidArgumentError, match="max_logit is 0"):
    ops.term_score(case.item, case.user, 0.0)


def test_shape_is_known_before_the_scores() -> None:
  case = plain_case()
  with tf.Graph().as_default():
    item = tf.nest.map_structure(tf.constant, case.item)
    user = tf.nest.map_structure(tf.constant, case.user)
    assert ops.term_score(item, user, terms.MAX_LOGIT).shape == (2, 3)
