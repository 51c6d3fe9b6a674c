"""Both search policies in stock TensorFlow ops, for a batch of queries.

The plain version: the second truth beside tests/oracle.py, and the graph for a
TensorFlow Serving without our op. Takes and gives what
`nann.retrieval.beam_search` does; what the two are made of is in `stock_beam`.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from nann.ops import Found
from nann.retrieval import stock_beam
from nann.retrieval.stock_beam import NO_ROW, NO_SCORE, Beam, Evaluator, Filter
from nann.retrieval.tensors import GraphTensors, PolicyTensors, Score

_MOST = np.iinfo(np.int32).max


def beam_search(
  graph: GraphTensors,
  score: Score,
  user_state: Any,
  item_state: Any,
  expand: tf.Tensor,
  only_score: tf.Tensor,
  policy: PolicyTensors,
  k: tf.Tensor | int,
  allowed: tf.Tensor | None = None,
  denied: tf.Tensor | None = None,
) -> Found:
  """Finds the k best items of each of B users; see tests/oracle.py.

  Args:
    graph: The graph that fits the policy.
    score: (user_state, item_state nest [B, N, *]) -> [B, N] float32.
    user_state: Nest of [B, *].
    item_state: Nest of [I, *].
    expand: [B, F] int32 rows to start from and expand, padded with -1; policy
      best_first only.
    only_score: [B, M] int32 rows to start from if they score well, likewise.
    policy: How to walk; all of it may be known at run time only.
    k: K, a scalar.
    allowed: [B, (I + 7) / 8] uint8, bits of the rows that may be returned (row
      r is bit r % 8 of byte r / 8), or [0, 0] or None: all.
    denied: [B, X] int32 rows that may not be returned, padded with -1.

  Returns:
    rows [B, K] int32 padded with -1, scores [B, K] float32 padded with -inf,
    num_scored [B, S] int32, S = sum of hops or max_steps.
  """
  evaluate = Evaluator(score, user_state, item_state)
  num_users = tf.shape(expand)[0]
  num_rows = tf.shape(graph.levels[0][1])[0] - 1
  may_return = None
  if allowed is not None or denied is not None:
    may_return = stock_beam.make_filter(num_users, num_rows, allowed, denied)
  k = _positive("k", tf.convert_to_tensor(k, tf.int32))
  if policy.limits is None:
    return _paper_search(
      graph, evaluate, num_users, num_rows, policy, k, may_return
    )
  return _best_first_search(
    graph.levels[0], evaluate, num_rows, expand, only_score, policy, k,
    may_return,
  )  # fmt: skip


def _positive(name: str, value: tf.Tensor) -> tf.Tensor:
  """Returns the value, and refuses one below 1."""
  check = tf.debugging.assert_positive(
    value, message=f"{name} is below 1, wanted at least 1"
  )
  with tf.control_dependencies([] if check is None else [check]):
    return tf.identity(value)


def _paper_search(
  graph: GraphTensors,
  evaluate: Evaluator,
  num_users: tf.Tensor,
  num_rows: tf.Tensor,
  policy: PolicyTensors,
  k: tf.Tensor,
  may_return: Filter | None,
) -> Found:
  """Searches level by level."""
  assert policy.widths is not None
  assert policy.hops is not None
  hops = tf.convert_to_tensor(policy.hops)
  num_steps = tf.reduce_sum(hops)
  widths = _width_of_step(policy.widths, hops, num_steps)
  entries = tf.tile(graph.entry_points[None], [num_users, 1])
  beam = stock_beam.merge(
    stock_beam.empty_beam(entries), entries, evaluate(entries), widths[0]
  )
  counts = _column(tf.constant(0), num_steps, entries)
  step, k_found = tf.constant(1), tf.minimum(k, widths[-1])
  for number in reversed(range(len(graph.levels))):
    visited = tf.zeros([num_users * num_rows], tf.bool)
    visited = stock_beam.mark_visited(visited, beam.rows, num_rows)
    # The answers: of all that the last level's beam is offered.
    found = stock_beam.empty_beam(beam.rows)
    if number == 0:
      found = _add(found, beam.rows, beam.scores, k_found, may_return)

    def goes_on(step: tf.Tensor, last: tf.Tensor, *_: Any) -> tf.Tensor:
      return step < last

    def take_hop(
      step: tf.Tensor,
      last: tf.Tensor,
      frontier: tf.Tensor,
      visited: tf.Tensor,
      counts: tf.Tensor,
      beam: Beam,
      found: Beam,
      number: int = number,
    ) -> tuple[Any, ...]:
      candidates = stock_beam.unvisited_neighbors(
        graph.levels[number], frontier, visited, num_rows
      )
      visited = stock_beam.mark_visited(visited, candidates, num_rows)
      scores = evaluate(candidates)
      counts += _column(step, num_steps, candidates)
      beam = stock_beam.merge(beam, candidates, scores, widths[step])
      # The beam's worst; while the beam is not full, no candidate is worse.
      entered = scores >= beam.scores[:, -1:]
      frontier = tf.where(entered, candidates, NO_ROW)
      if number == 0:
        found = _add(found, candidates, scores, k_found, may_return)
      return step + 1, last, frontier, visited, counts, beam, found

    state = (
      step, step + hops[number], beam.rows, visited, counts, beam, found,
    )  # fmt: skip
    step, _, _, _, counts, beam, found = tf.while_loop(
      goes_on, take_hop, state, shape_invariants=_any_length(state)
    )
  return _answers(found, counts, k)


def _add(
  found: Beam,
  rows: tf.Tensor,
  scores: tf.Tensor,
  k: tf.Tensor,
  may_return: Filter | None,
) -> Beam:
  """Adds candidates to the answers, if they may be returned."""
  if may_return is not None:
    may = may_return(rows)
    rows = tf.where(may, rows, NO_ROW)
    scores = tf.where(may, scores, NO_SCORE)
  return stock_beam.merge(found, rows, scores, k)


def _width_of_step(
  widths: tf.Tensor, hops: tf.Tensor, num_steps: tf.Tensor
) -> tf.Tensor:
  """Returns [S] int32, the beam width of each step.

  Args:
    widths: [levels + 1] of each level, or [S] of each step, from the last back.
    hops: [levels + 1].
    num_steps: S.
  """
  widths = _positive("widths", tf.convert_to_tensor(widths))
  number, num_levels = widths.shape[0], hops.shape[0]
  if number is not None and number == num_levels:
    widths = tf.repeat(widths, hops)
  elif number is None or num_levels is None:
    widths = tf.cond(
      tf.equal(tf.size(widths), tf.size(hops)),
      lambda: tf.repeat(widths, hops),
      lambda: tf.identity(widths),
    )
  check = tf.debugging.assert_equal(
    tf.size(widths),
    num_steps,
    message="widths are not one for each level and one for the entry points,"
    " nor one for each step",
  )
  with tf.control_dependencies([] if check is None else [check]):
    return tf.reverse(widths, [0])


def _best_first_search(
  level: tuple[tf.Tensor, tf.Tensor],
  evaluate: Evaluator,
  num_rows: tf.Tensor,
  expand: tf.Tensor,
  only_score: tf.Tensor,
  policy: PolicyTensors,
  k: tf.Tensor,
  may_return: Filter | None,
) -> Found:
  """Searches best items first on one level."""
  limits = _positive("limits", tf.convert_to_tensor(policy.limits))
  limits = tf.cast(tf.minimum(limits, _MOST), tf.int32)
  ef, width, max_steps, max_evaluations = tf.unstack(limits, 4)
  ef = tf.maximum(ef, k)

  def merge(beam: Beam, rows: tf.Tensor) -> Beam:
    if may_return is None:
      return stock_beam.merge(beam, rows, evaluate(rows), ef)
    return stock_beam.merge_filtered(beam, rows, evaluate(rows), ef, may_return)

  visited = tf.zeros([tf.shape(expand)[0] * num_rows], tf.bool)
  both = stock_beam.distinct(tf.concat([expand, only_score], axis=1))
  entries = stock_beam.limit(both, max_evaluations)
  visited = stock_beam.mark_visited(visited, entries, num_rows)
  beam = merge(stock_beam.empty_beam(entries), entries)
  total = stock_beam.count(entries)
  # Of the entries to expand, those that were scored: distinct, in order.
  num_expand = stock_beam.count(stock_beam.distinct(expand))
  frontier = stock_beam.limit(entries, num_expand)
  has_frontier = tf.reduce_any(frontier >= 0, axis=1, keepdims=True)
  chosen = stock_beam.best_unexpanded(beam, width)
  frontier = tf.concat(
    [frontier, tf.where(has_frontier, NO_ROW, chosen)], axis=1
  )
  counts = _column(tf.constant(0), max_steps, entries)

  def if_any_is_left(frontier: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    return tf.where((total < max_evaluations)[:, None], frontier, NO_ROW)

  def goes_on(step: tf.Tensor, frontier: tf.Tensor, *_: Any) -> tf.Tensor:
    return (step < max_steps) & tf.reduce_any(frontier >= 0)

  def take_step(
    step: tf.Tensor,
    frontier: tf.Tensor,
    visited: tf.Tensor,
    total: tf.Tensor,
    counts: tf.Tensor,
    beam: Beam,
  ) -> tuple[Any, ...]:
    beam = stock_beam.mark_expanded(beam, frontier)
    candidates = stock_beam.unvisited_neighbors(
      level, frontier, visited, num_rows
    )
    candidates = stock_beam.limit(candidates, max_evaluations - total)
    visited = stock_beam.mark_visited(visited, candidates, num_rows)
    counts += _column(step, max_steps, candidates)
    total += stock_beam.count(candidates)
    beam = merge(beam, candidates)
    frontier = stock_beam.best_unexpanded(beam, width)
    frontier = if_any_is_left(frontier, total)
    return step + 1, frontier, visited, total, counts, beam

  state = (
    tf.constant(1), if_any_is_left(frontier, total), visited, total, counts,
    beam,
  )  # fmt: skip
  *_, counts, beam = tf.while_loop(
    goes_on, take_step, state, shape_invariants=_any_length(state)
  )
  if may_return is not None:
    beam = stock_beam.only_allowed(beam, may_return)
  return _answers(beam, counts, k)


def _any_length(state: Any) -> Any:
  """Returns shapes of the state of a loop, whose lengths change."""
  return tf.nest.map_structure(
    lambda tensor: tf.TensorShape([None] * tensor.shape.rank), state
  )


def _column(
  step: tf.Tensor, num_steps: tf.Tensor, rows: tf.Tensor
) -> tf.Tensor:
  """Returns [B, S] int32, how many rows [B, N] there are at this step."""
  number = stock_beam.count(rows)[:, None]
  return number * tf.one_hot(step, num_steps, dtype=tf.int32)


def _answers(beam: Beam, num_scored: tf.Tensor, k: tf.Tensor) -> Found:
  """Returns the first k of a beam, padded."""
  rows, scores = beam.rows[:, :k], beam.scores[:, :k]
  missing = [[0, 0], [0, k - tf.shape(rows)[1]]]
  return Found(
    tf.pad(rows, missing, constant_values=NO_ROW),
    tf.pad(scores, missing, constant_values=NO_SCORE),
    num_scored,
  )
