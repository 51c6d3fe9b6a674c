"""Splits a black-box model into the parts of the user, the item and the pair.

The model takes features of a user and of an item and returns a score; nothing
else is asked of it. What of it depends on whom is read off its graph, and only
what depends on both runs inside the search. Before it is handed out, the split
model is compared with the whole one.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from nann.retrieval import black_box, split_algebra, split_parts
from nann.retrieval.black_box import BlackBox, Features
from nann.retrieval.split_graph import Color, ColoredGraph
from nann.retrieval.split_report import SplitReport, is_heavy, part_report
from nann.retrieval.split_simplify import simplify

_STATE_ROWS = 16384
_OBSERVED_ROWS = 8
_COMPARED_USERS = 4
_COMPARED_ITEMS = 16
_TOLERANCE = 1e-4


class SplitModel(NamedTuple):
  """A black-box model in three parts.

  Attributes:
    item_state: item features [I, *] by name -> tuple of [I, *].
    user_state: user features [B, *] by name -> tuple of [B, *].
    score: (user_state, tuple of [B or 1, N, *]) -> [B, N] float32.
    report: What the split achieved.
  """

  item_state: Callable[[Features], tuple[tf.Tensor, ...]]
  user_state: Callable[[Features], tuple[tf.Tensor, ...]]
  score: Callable[[Any, Any], tf.Tensor]
  report: SplitReport


def split(
  model: Any,
  user_inputs: Iterable[str],
  item_inputs: Iterable[str],
  probe: Features | None = None,
) -> SplitModel:
  """Splits a model by what its parts depend on.

  The model scores pairs: all inputs are [n, *], the output is [n] or [n, 1],
  and the score of a pair does not depend on the other pairs. Variables become
  constants: the parts do not follow the model if it is trained further.

  Args:
    model: A Keras model, a signature of a SavedModel (the loaded object must
      live), a function of TensorFlow with named inputs, or any callable on a
      dict of features.
    user_inputs: Names of the inputs that belong to the user.
    item_inputs: Names of the inputs that belong to the item.
    probe: Features [P, *], 2 rows or more, to observe the model and to compare
      the parts with; the more like real ones (padding, say) the better. May be
      left out where all inputs are floating-point: normal noise is used.

  Raises:
    ValueError: The inputs and outputs are not as above, the score depends on
      one side only, or the parts do not give what the model gives.
  """
  box = black_box.freeze(model, probe)
  colors = _colors(box, list(user_inputs), list(item_inputs))
  rows = black_box.features_for(box, probe)
  _check_rows(rows, colors)
  observed = {name: array[:_OBSERVED_ROWS] for name, array in rows.items()}
  whole = simplify(
    ColoredGraph(
      box.graph, box.inputs, colors, box.output, observed, box.tables
    )
  )
  _check_pairs(whole)
  graph = split_algebra.spread(whole)
  parts = split_parts.cut(graph)
  report = _report(whole, graph, parts)
  made = SplitModel(
    item_state=lambda features: parts.item(
      *_flat(features, parts.item_features, graph)
    ),
    user_state=lambda features: parts.user(
      *_flat(features, parts.user_features, graph)
    ),
    score=lambda user, items: _score(parts.pair, user, items),
    report=report,
  )
  _compare(box, made, colors, rows)
  return made


def item_states(
  model: SplitModel, features: Features, num_rows: int = _STATE_ROWS
) -> tuple[tf.Tensor, ...]:
  """Computes the states of many items, `num_rows` at a time.

  Args:
    model: The split model.
    features: Item features [I, *] by name.
    num_rows: Items at a time.

  Returns:
    Tuple of [I, *].
  """
  count = len(next(iter(features.values())))
  chunks = [
    model.item_state(
      {name: x[begin : begin + num_rows] for name, x in features.items()}
    )
    for begin in range(0, max(count, 1), num_rows)
  ]
  return tuple(tf.concat(parts, axis=0) for parts in zip(*chunks, strict=True))


def _colors(
  box: BlackBox, user_inputs: list[str], item_inputs: list[str]
) -> dict[str, Color]:
  known = sorted(box.inputs)
  for side, names in (("user", user_inputs), ("item", item_inputs)):
    for name in names:
      if name not in box.inputs:
        raise ValueError(
          f"{side}_inputs has {name!r}, wanted one of the inputs {known}"
        )
  for name in known:
    sides = (name in user_inputs) + (name in item_inputs)
    if sides != 1:
      raise ValueError(
        f"input {name!r} is in {sides} of user_inputs and item_inputs, wanted"
        " exactly one"
      )
  return {x: Color.USER if x in user_inputs else Color.ITEM for x in known}


def _check_rows(rows: dict[str, np.ndarray], colors: dict[str, Color]) -> None:
  """Rejects rows that cannot show what depends on what."""
  for color in (Color.USER, Color.ITEM):
    own = [array for name, array in rows.items() if colors[name] == color]
    if all((array == array[:1]).all() for array in own):
      raise ValueError(
        f"probe has the same {color.name} features in all rows, wanted some"
        " that differ"
      )


def _check_pairs(graph: ColoredGraph) -> None:
  """Rejects what is not a score of a pair."""
  fact = graph[graph.output]
  sides = {str(graph.colors[name].name) for name in graph.inputs}
  if fact.color != Color.BOTH or len(sides) < 2:
    raise ValueError(
      f"the score depends on {' and '.join(sorted(sides)) or 'nothing'} only,"
      " wanted a score that depends on user and item"
    )
  shape = fact.shape or ()
  if not fact.leads or int(np.prod(shape)) != 1 or len(shape) > 2:
    raise ValueError(
      f"the score of one pair has shape {list(shape)}, wanted [1] or [1, 1]"
    )
  if not fact.by_row:
    raise ValueError(
      "the score of a pair changes with the other pairs in the batch, or from"
      " call to call (statistics of a batch? dropout?), wanted a model at"
      " inference"
    )


def _flat(
  features: Features, names: list[str], graph: ColoredGraph
) -> list[tf.Tensor]:
  missing = [name for name in names if name not in features]
  if missing:
    raise ValueError(f"features have no {missing}, wanted all of {names}")
  return [
    tf.convert_to_tensor(features[name], graph.inputs[name].dtype)
    for name in names
  ]


def _score(pair: split_parts.Part, user: Any, items: Any) -> tf.Tensor:
  user = [tf.convert_to_tensor(x) for x in tf.nest.flatten(user)]
  items = [tf.convert_to_tensor(x) for x in tf.nest.flatten(items)]
  if user[0].shape[0] == 1:
    (scores,) = pair(*user, *(x[0] for x in items))
    return tf.cast(tf.reshape(scores, [1, -1]), tf.float32)

  def of_user(index: tf.Tensor) -> tf.Tensor:
    own = [x[tf.minimum(index, tf.shape(x)[0] - 1)] for x in items]
    (scores,) = pair(*(x[index][None] for x in user), *own)
    return tf.cast(tf.reshape(scores, [-1]), tf.float32)

  return tf.map_fn(
    of_user,
    tf.range(tf.shape(user[0])[0]),
    fn_output_signature=tf.TensorSpec([None], tf.float32),
  )


def _report(
  whole: ColoredGraph, graph: ColoredGraph, parts: split_parts.Parts
) -> SplitReport:
  user, item, pair = (
    part_report(graph, part.operations, part.num_operations())
    for part in (parts.user, parts.item, parts.pair)
  )
  is_split = bool(user.heavy or item.heavy or not pair.heavy)
  first = next((x.name for x in parts.pair.operations if is_heavy(x)), "")
  count = sum(x.type not in ("Const", "Placeholder") for x in whole.operations)
  return SplitReport(
    user=user,
    item=item,
    pair=pair,
    whole=part_report(whole, whole.operations, count),
    item_state_bytes=parts.item_bytes,
    is_split=is_split,
    reason=""
    if is_split
    else "not split: all products, convolutions and loops depend on both user"
    f" and item, from {first!r} on",
  )


def _compare(
  box: BlackBox,
  made: SplitModel,
  colors: dict[str, Color],
  rows: dict[str, np.ndarray],
) -> None:
  """Compares the parts with the model on all pairs of a few users and items.

  Raises:
    ValueError: They differ by more than float32 rounding.
  """
  user_rows = {
    name: array[:_COMPARED_USERS]
    for name, array in rows.items()
    if colors[name] == Color.USER
  }
  item_rows = {
    name: array[:_COMPARED_ITEMS]
    for name, array in rows.items()
    if colors[name] == Color.ITEM
  }
  items = [state[None] for state in made.item_state(item_rows)]
  num_items = len(next(iter(item_rows.values())))
  # Two calls against one: a score must not depend on the rest of its batch.
  half = num_items // 2
  wanted, got = [], []
  for user in range(len(next(iter(user_rows.values())))):
    own = {name: array[user : user + 1] for name, array in user_rows.items()}
    pairs = {x: tf.repeat(own[x], num_items, axis=0) for x in own}
    pairs.update((x, tf.constant(item_rows[x])) for x in item_rows)
    wanted.append(np.ravel(box.call(pairs)))
    state = made.user_state(own)
    halves = [
      made.score(state, [x[:, begin:end] for x in items])
      for begin, end in ((0, half), (half, num_items))
    ]
    got.append(np.ravel(tf.concat(halves, axis=1)))
  check_equal(np.stack(got), np.stack(wanted))


def check_equal(got: np.ndarray, wanted: np.ndarray) -> None:
  """Raises ValueError where scores [B, N] differ by more than rounding."""
  if not np.isfinite(wanted).all():
    raise ValueError("the model's scores of the probe have NaN or infinity")
  largest = float(np.abs(wanted).max())
  limit = max(_TOLERANCE * float(np.ptp(wanted)), 1e-6 * largest)
  error = np.abs(got - wanted)
  # NaN is no smaller than the limit.
  if not (error <= limit).all():
    user, item = np.unravel_index(
      np.argmax(np.nan_to_num(error, nan=np.inf)), error.shape
    )
    raise ValueError(
      f"score[{user}, {item}] of the probe is {got[user, item]} in parts,"
      f" wanted the model's {wanted[user, item]} within {limit:.2g}: this model"
      " cannot be split as it is"
    )
