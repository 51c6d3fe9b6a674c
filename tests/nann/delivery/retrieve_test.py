"""An exported model answers as the retriever does."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nann.retrieval import answering
from nann.retrieval import result as results
from tests.nann.delivery import models
from tests.nann.delivery.models import UNKNOWN, Exported, K, histories, to_raw


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
  return Exported(tmp_path_factory.mktemp("export"), models.serving())


def expected(
  model: Exported,
  users: np.ndarray,
  k: int = K,
  allowed: np.ndarray | None = None,
) -> results.SearchResult:
  """Answers in this process, padded to k."""
  serving = model.serving
  plan = serving.plan
  found = results.concatenate(
    list(answering.answer(serving.retriever, plan, users, k, allowed=allowed))
  )
  missing = [(0, 0), (0, k - found.rows.shape[1])]
  return dataclasses.replace(
    found,
    rows=np.pad(found.rows, missing, constant_values=-1),
    scores=np.pad(found.scores, missing, constant_values=-np.inf),
  )


def same(
  model: Exported, got: models.Answers, wanted: results.SearchResult
) -> None:
  names = models.names_of(model.serving, wanted.rows)
  np.testing.assert_array_equal(got["item_ids"], names)
  np.testing.assert_allclose(got["scores"], wanted.scores, atol=1e-5)
  np.testing.assert_array_equal(got["num_scored"], wanted.total_scored)


@pytest.mark.parametrize("number", [1, 5])
def test_same_user_same_answer(exported: Exported, number: int) -> None:
  users = histories(number)
  got = exported.ask("retrieve", history_item_ids=to_raw(users))
  assert got["item_ids"].shape == (number, K)
  same(exported, got, expected(exported, users))
  assert not got["num_unknown"].any()


VARIANTS: dict[str, dict[str, Any]] = {
  "dnn": {"name": "dnn"},
  "two towers": {"name": "two_tower"},
  "nann_plus": {"name": "nann_plus"},
  "nann_plus, states of half the size": {
    "name": "nann_plus",
    "dtype": "float16",
  },
  "nann_plus, stock ops": {"name": "nann_plus", "search_ops": "stock"},
  "layers of Keras": {"name": "examples.keras_scorer:KerasScorer"},
  "states of half the size": {"dtype": "float16"},
  "states in bfloat16": {"dtype": "bfloat16"},
  "policy paper": {"paper": True},
  "stock ops": {"search_ops": "stock"},
  "stock ops, policy paper": {"search_ops": "stock", "paper": True},
  "stock ops, by cost": {"search_ops": "stock", "mode": "auto"},
  "a scorer that reads ids": {"name": f"{models.__name__}:IdReader"},
  "a scan": {"mode": "scan"},
  "a scan without history": {"mode": "scan", "exclude_history": True},
  "a walk without history": {"exclude_history": True},
  "a scan by cost": {"mode": "auto", "evaluations": 5000.0},
  "a walk by cost": {"mode": "auto", "evaluations": 100.0},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variant_answers_alike(variant: str, tmp_path: pathlib.Path) -> None:
  settings = VARIANTS[variant]
  export_ops = settings.get("search_ops", "nann")
  model = Exported(tmp_path, models.serving(**settings), export_ops)
  users = np.concatenate([histories(4), np.zeros((1, 10), np.int64)])
  got = model.ask("retrieve", history_item_ids=to_raw(users))
  same(model, got, expected(model, users))
  rng = np.random.default_rng(0)
  mask = rng.random((5, 880)) < 0.05
  bits = np.packbits(mask, axis=1, bitorder="little")
  rows = np.where(mask, np.arange(880), -1)
  got = model.ask(
    "retrieve",
    history_item_ids=to_raw(users),
    allowed_items=models.names_of(model.serving, rows),
  )
  same(model, got, expected(model, users, allowed=bits))


def test_user_without_history_gets_the_exact_answer(exported: Exported) -> None:
  got = exported.ask("retrieve", history_item_ids=np.zeros((2, 3), np.int64))
  same(exported, got, expected(exported, np.zeros((2, 10), np.int64)))
  assert (got["num_scored"] == 0).all()
  empty = exported.ask("retrieve", history_item_ids=np.zeros((2, 0), np.int64))
  np.testing.assert_array_equal(empty["item_ids"], got["item_ids"])


def test_unknown_items_are_padding_and_counted(exported: Exported) -> None:
  users = histories(3)
  raw = to_raw(users)
  # Before, between and after what is known, and below and above all ids.
  wide = np.zeros((3, 14), np.int64)
  wide[:, 1:4], wide[:, 6:13] = raw[:, :3], raw[:, 3:]
  wide[:, 0], wide[:, 4], wide[:, 5], wide[:, 13] = UNKNOWN, 10**12, -5, 0
  got = exported.ask("retrieve", history_item_ids=wide)
  np.testing.assert_array_equal(got["num_unknown"], [3, 3, 3])
  same(exported, got, expected(exported, users))


def test_the_last_known_items_count(exported: Exported) -> None:
  users = histories(8)[1::2]
  older = np.full((4, 6), to_raw(np.array([400]))[0])
  longer = np.concatenate([older, to_raw(users)], axis=1)
  got = exported.ask("retrieve", history_item_ids=longer)
  same(exported, got, expected(exported, users))


@pytest.mark.parametrize("k", [1, 100, 1000])
def test_k_is_asked_for(exported: Exported, k: int) -> None:
  users = np.concatenate([histories(2), np.zeros((1, 10), np.int64)])
  got = exported.ask("retrieve", history_item_ids=to_raw(users), k=np.int32(k))
  assert got["item_ids"].shape == (3, k)
  if k < 880:
    same(exported, got, expected(exported, users, k))
  else:
    assert (got["item_ids"][:, 880:] == 0).all()
    assert (got["scores"][:, 880:] == -np.inf).all()


def test_k_of_zero_is_refused(exported: Exported) -> None:
  with pytest.raises(tf.errors.InvalidArgumentError, match="k is 0, wanted 1"):
    exported.ask(
      "retrieve", history_item_ids=to_raw(histories(1)), k=np.int32(0)
    )


def test_excluded_items_are_not_returned(exported: Exported) -> None:
  users = histories(3)
  plain = exported.ask("retrieve", history_item_ids=to_raw(users))
  excluded = plain["item_ids"][:, :4].copy()
  excluded[0, 2:] = 0, UNKNOWN
  got = exported.ask(
    "retrieve", history_item_ids=to_raw(users), excluded_items=excluded
  )
  for user in range(3):
    assert not np.isin(excluded[user], got["item_ids"][user]).any()
    assert got["item_ids"][user, 0] == next(
      item for item in plain["item_ids"][user] if item not in excluded[user]
    )


def test_allowed_and_excluded_work_together(exported: Exported) -> None:
  users = histories(2)
  allowed = to_raw(np.tile(np.arange(1, 60), (2, 1)))
  got = exported.ask(
    "retrieve",
    history_item_ids=to_raw(users),
    allowed_items=allowed,
    excluded_items=allowed[:, :50],
  )
  for found in got["item_ids"]:
    left = set(found[found != 0])
    assert left
    assert left <= set(allowed[0, 50:])


def test_filter_of_unknown_items_allows_nothing(exported: Exported) -> None:
  got = exported.ask(
    "retrieve",
    history_item_ids=to_raw(histories(2)),
    allowed_items=np.full((2, 1), UNKNOWN),
  )
  assert (got["item_ids"] == 0).all()


@pytest.mark.parametrize("name", ["allowed_items", "excluded_items"])
def test_filter_for_another_number_of_users_is_refused(
  exported: Exported, name: str
) -> None:
  given: Any = {name: to_raw(np.ones((3, 2), np.int64))}
  with pytest.raises(tf.errors.InvalidArgumentError):
    exported.ask("retrieve", history_item_ids=to_raw(histories(2)), **given)


def test_given_categories_replace_the_catalogue_s(exported: Exported) -> None:
  users = histories(3)
  raw = to_raw(users)
  plain = exported.ask("retrieve", history_item_ids=raw)
  own = 100 * models.CATEGORIES[users]
  own[:, 1] = UNKNOWN
  got = exported.ask("retrieve", history_item_ids=raw, history_category_ids=own)
  np.testing.assert_array_equal(got["scores"], plain["scores"])
  other = 100 * (models.CATEGORIES[users] % 6 + 1)
  got = exported.ask(
    "retrieve", history_item_ids=raw, history_category_ids=other
  )
  assert not np.array_equal(got["scores"], plain["scores"])


def test_text_ids_come_back_as_text(tmp_path: pathlib.Path) -> None:
  ids = np.array([f"sku-{i:x}é".encode() for i in models.RAW_IDS])
  model = Exported(tmp_path, models.serving(ids=ids))
  users = histories(3)
  raw = to_raw(users, ids).astype(object)
  raw[0, 7] = b"no such item"
  got = model.ask("retrieve", history_item_ids=raw, k=np.int32(900))
  wanted = expected(model, users, 900)
  items = model.serving.retriever.items.item_ids
  names = to_raw(
    np.where(wanted.rows >= 0, items[np.maximum(wanted.rows, 0)], 0), ids
  )
  np.testing.assert_array_equal(got["item_ids"].astype(bytes), names)
  assert got["num_unknown"].tolist() == [1, 0, 0]


def test_scores_are_those_of_the_retriever(exported: Exported) -> None:
  users = histories(3)
  items = np.array([[1, 2, 300], [4, 500, 6], [7, 8, 9]])
  raw = to_raw(items)
  raw[1, 2] = UNKNOWN
  got = exported.ask("score", history_item_ids=to_raw(users), item_ids=raw)
  retriever = exported.serving.retriever
  for user in range(3):
    state = retriever.user_state(tf.constant(users[user : user + 1]))
    rows = tf.constant(retriever.items.rows_of(items[user]))
    scores = retriever.score_rows(state, rows).numpy()[0]
    if user == 1:
      scores[2] = -np.inf
    np.testing.assert_allclose(got["scores"][user], scores, atol=1e-5)
