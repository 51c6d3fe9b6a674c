"""Split models against the whole ones, and what landed in which part."""

import functools
import pathlib
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from examples import black_box_scorer
from nann import ops
from nann.retrieval import black_box
from nann.retrieval.split import (
  SplitModel,
  check_equal,
  item_states,
  split,
)
from tests.nann.retrieval import black_boxes

NUM_USERS = 3
NUM_ITEMS = 20


@functools.cache
def case(name: str) -> black_boxes.Case:
  keras.utils.set_random_seed(0)
  return black_boxes.ALL[name]()


@functools.cache
def split_case(name: str) -> SplitModel:
  box = case(name)
  names = box.user + box.item
  return split(box.model, box.user, box.item, rows(names, 6, seed=0))


def rows(names: list[str], number: int, seed: int) -> dict[str, np.ndarray]:
  made = black_boxes.features(number, seed)
  return {name: made[name] for name in names}


def whole(
  box: black_boxes.Case, user: dict[str, Any], items: dict[str, Any]
) -> np.ndarray:
  """Scores all pairs by the model itself: [B, I]."""
  num_items = len(next(iter(items.values())))
  scores = []
  for one in range(len(next(iter(user.values())))):
    pairs = {x: np.repeat(user[x][one : one + 1], num_items, 0) for x in user}
    pairs.update(items)
    if isinstance(box.model, keras.Model):
      found = box.model({x: tf.constant(pairs[x]) for x in pairs})
    else:
      found = box.model(**{x: tf.constant(pairs[x]) for x in pairs})
    scores.append(np.ravel(found))
  return np.stack(scores)


@pytest.mark.parametrize("name", black_boxes.ALL)
def test_folded_equals_unfolded(name: str) -> None:
  box, model = case(name), split_case(name)
  user = rows(box.user, NUM_USERS, seed=1)
  items = rows(box.item, NUM_ITEMS, seed=2)
  states = item_states(model, items, num_rows=7)
  shared = [state[None] for state in states]
  wanted = whole(box, user, items)

  check_equal(model.score(model.user_state(user), shared).numpy(), wanted)
  own = [tf.repeat(state, NUM_USERS, axis=0) for state in shared]
  check_equal(model.score(model.user_state(user), own).numpy(), wanted)
  for one in range(NUM_USERS):
    only = {x: user[x][one : one + 1] for x in user}
    scores = model.score(model.user_state(only), shared)
    check_equal(scores.numpy(), wanted[one : one + 1])


def test_history_of_another_length_than_the_probe() -> None:
  box, model = case("free_length"), split_case("free_length")
  history = np.random.default_rng(1).integers(1, 30, (2, 11), dtype=np.int32)
  items = rows(box.item, NUM_ITEMS, seed=2)
  states = [state[None] for state in item_states(model, items)]
  scores = model.score(model.user_state({"history": history}), states)
  check_equal(scores.numpy(), whole(box, {"history": history}, items))


@pytest.mark.parametrize(
  "name", sorted(set(black_boxes.ALL) - {"unsplittable"})
)
def test_pair_part_does_less_than_the_whole(name: str) -> None:
  report = split_case(name).report
  assert report.is_split
  assert report.pair.multiply_adds < 0.55 * report.whole.multiply_adds


def test_unsplittable_model_says_so_and_works() -> None:
  report = split_case("unsplittable").report
  assert not report.is_split
  assert "not split: all products, convolutions and loops" in report.reason
  assert report.reason in str(report)
  assert "While" in report.pair.heavy
  assert not report.user.heavy + report.item.heavy


@pytest.mark.parametrize("name", ["gru", "transformer"])
def test_history_encoder_runs_once_for_a_user(name: str) -> None:
  report = split_case(name).report
  encoder = {"gru": "While", "transformer": "Einsum"}[name]
  assert encoder in report.user.heavy
  assert encoder not in report.pair.heavy + report.item.heavy


def test_first_layer_is_divided_and_batch_normalization_goes_with_it() -> None:
  report = split_case("dnn").report
  # Inputs 8 + 2 of the user, 8 + 3 of the item, layers of 16, 8 and 1.
  assert report.user.multiply_adds == 10 * 16
  assert report.item.multiply_adds == 11 * 16
  assert report.pair.multiply_adds == 16 * 8 + 8
  assert report.item_state_bytes == 16 * 4


def test_item_repeated_along_the_history_is_multiplied_once() -> None:
  report = split_case("target_attention").report
  # The repeated item's 8 x 12, and the 11 x 16 of the layer after attention.
  assert report.item.multiply_adds == 8 * 12 + 11 * 16
  # Embedding and the halves of two layers; nothing is stored five times.
  assert report.item_state_bytes == (8 + 12 + 16) * 4


def test_two_tower_leaves_an_inner_product() -> None:
  report = split_case("two_tower").report
  assert report.pair.multiply_adds == 8
  assert report.item_state_bytes == 8 * 4


def test_search_finds_what_the_whole_model_ranks_first() -> None:
  box, model = case("gru"), split_case("gru")
  user = rows(box.user, NUM_USERS, seed=1)
  items = rows(box.item, NUM_ITEMS, seed=2)
  others = np.arange(NUM_ITEMS, dtype=np.int32)
  splits = np.arange(NUM_ITEMS + 1, dtype=np.int64) * NUM_ITEMS

  found = ops.beam_search(
    [(tf.constant(np.tile(others, NUM_ITEMS)), tf.constant(splits))],
    entry_points=tf.constant([0]),
    score=model.score,
    user_state=model.user_state(user),
    item_state=item_states(model, items),
    expand=tf.fill([NUM_USERS, 1], 3),
    only_score=tf.zeros([NUM_USERS, 0], tf.int32),
    k=5,
    limits=tf.constant([NUM_ITEMS, 4, 100, 1000], tf.int64),
  )

  scores = whole(box, user, items)
  best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
  np.testing.assert_array_equal(found.rows, best)
  wanted = np.take_along_axis(scores, best, axis=1)
  np.testing.assert_allclose(found.scores, wanted, rtol=1e-4, atol=1e-5)


def test_saved_model_is_split_like_the_model(tmp_path: pathlib.Path) -> None:
  box = case("dnn")
  box.model.export(str(tmp_path), verbose=False)
  loaded = tf.saved_model.load(str(tmp_path))
  signature = loaded.signatures["serving_default"]
  probe = rows(box.user + box.item, 6, seed=0)
  model = split(signature, box.user, box.item, probe)
  assert model.report == split_case("dnn").report
  items = rows(box.item, NUM_ITEMS, seed=2)
  user = rows(box.user, 1, seed=1)
  states = [state[None] for state in item_states(model, items)]
  scores = model.score(model.user_state(user), states)
  check_equal(scores.numpy(), whole(box, user, items))


def test_large_tables_stay_out_of_the_graph(
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  box = case("unsplittable")
  probe = rows(box.user + box.item, 6, seed=0)
  monkeypatch.setattr(black_box, "_TABLE_BYTES", 900)
  frozen = black_box.freeze(box.model, probe)
  assert (30, 8) in [table.shape for table in frozen.tables.values()]
  assert frozen.graph.as_graph_def().ByteSize() < 40_000

  model = split(box.model, box.user, box.item, probe)
  user = rows(box.user, NUM_USERS, seed=1)
  items = rows(box.item, NUM_ITEMS, seed=2)
  states = [state[None] for state in item_states(model, items)]
  scores = model.score(model.user_state(user), states)
  check_equal(scores.numpy(), whole(box, user, items))


def test_callable_with_random_probe() -> None:
  @tf.function(
    input_signature=[
      tf.TensorSpec([None, 4], name="user"),
      tf.TensorSpec([None, 4], name="item"),
    ]
  )
  def score(user: tf.Tensor, item: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.tanh(user) * item, axis=1)

  model = split(score, ["user"], ["item"])
  assert model.report.is_split
  assert model.report.pair.num_operations < 6


def product(features: dict[str, tf.Tensor]) -> tf.Tensor:
  return tf.reduce_sum(features["user"] * features["item"], axis=1)


def floats(*shape: int) -> np.ndarray:
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


PROBE = {"user": floats(6, 4), "item": floats(6, 4)}


@pytest.mark.parametrize(
  ("user", "item", "message"),
  [
    (["usr"], ["item"], "user_inputs has 'usr', wanted one of the inputs"),
    (["user"], [], "input 'item' is in 0 of user_inputs and item_inputs"),
    (["user", "item"], ["item"], "input 'item' is in 2 of"),
  ],
)
def test_inputs_belong_to_one_side(
  user: list[str], item: list[str], message: str
) -> None:
  with pytest.raises(ValueError, match=message):
    split(product, user, item, PROBE)


@pytest.mark.parametrize(
  ("model", "message"),
  [
    (lambda x: x["user"] * x["item"], r"returns float32 \(None, 4\), wanted"),
    (lambda x: (product(x), product(x)), "returns 2 tensors, wanted one"),
    (lambda x: tf.reduce_sum(x["item"], 1), "depends on ITEM only, wanted"),
    (
      lambda x: product(x) - tf.reduce_mean(product(x)),
      "changes with the other pairs in the batch",
    ),
    (
      lambda x: product(x) + tf.random.uniform([tf.shape(x["user"])[0]]),
      "from call to call",
    ),
    (lambda x: tf.math.log(product(x) - 100), "NaN or infinity"),
  ],
)
def test_what_is_no_score_of_a_pair_is_rejected(
  model: Any, message: str
) -> None:
  with pytest.raises(ValueError, match=message):
    split(model, ["user"], ["item"], PROBE)


def test_fixed_batch_is_rejected() -> None:
  specs = [tf.TensorSpec([8, 4], name=x) for x in ("user", "item")]

  @tf.function(input_signature=specs)
  def score(user: tf.Tensor, item: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(user * item, axis=1)

  with pytest.raises(ValueError, match=r"has shape \(8, 4\), wanted \[None"):
    split(score, ["user"], ["item"])


def test_probe_is_required_for_ids_and_for_a_plain_callable() -> None:
  box = case("dnn")
  with pytest.raises(ValueError, match="int32, whose range is not known"):
    split(box.model, box.user, box.item)
  with pytest.raises(ValueError, match="does not say what its inputs are"):
    split(product, ["user"], ["item"])
  with pytest.raises(ValueError, match="rows, wanted the same number"):
    split(product, ["user"], ["item"], {**PROBE, "item": floats(5, 4)})


def test_centering_over_the_items_of_a_batch_is_rejected() -> None:
  def score(features: dict[str, tf.Tensor]) -> tf.Tensor:
    item = features["item"]
    item = item - tf.reduce_mean(item, axis=0, keepdims=True)
    return tf.reduce_sum(features["user"] * item, axis=1)

  with pytest.raises(ValueError, match="changes with the other pairs"):
    split(score, ["user"], ["item"], PROBE)


def test_what_the_probe_does_not_show_is_found_by_the_comparison() -> None:
  def score(features: dict[str, tf.Tensor]) -> tf.Tensor:
    # More than eight pairs: the observation has no more.
    number = tf.cast(tf.shape(features["user"])[0] > 8, tf.float32)
    return product(features) + number * features["item"][0, 0]

  probe = {"user": floats(16, 4), "item": floats(16, 4) + 1}
  with pytest.raises(ValueError, match=r"score\[\d, \d+\] of the probe is"):
    split(score, ["user"], ["item"], probe)


def test_probe_of_equal_rows_is_rejected() -> None:
  probe = {**PROBE, "item": np.ones([6, 4], np.float32)}
  with pytest.raises(ValueError, match="the same ITEM features in all rows"):
    split(product, ["user"], ["item"], probe)


def test_table_of_strings_is_rejected() -> None:
  lookup = keras.layers.StringLookup(vocabulary=["a", "b"])
  probe = {"user": np.array(["a", "b", "c"]), "item": floats(3, 3)}

  def score(features: dict[str, tf.Tensor]) -> tf.Tensor:
    user = tf.cast(lookup(features["user"]), tf.float32)
    return tf.reduce_sum(user[:, None] * features["item"], axis=1)

  with pytest.raises(ValueError, match="besides variables"):
    split(score, ["user"], ["item"], probe)


def test_missing_feature_is_named() -> None:
  model = split(product, ["user"], ["item"], PROBE)
  with pytest.raises(ValueError, match="features have no \\['item'\\]"):
    model.item_state({"price": floats(2, 3)})


def test_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
  black_box_scorer.main()
  printed = capsys.readouterr().out
  assert "multiply-adds" in printed
  assert "the search agrees with the whole model" in printed
