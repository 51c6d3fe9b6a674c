"""Both search policies in stock TensorFlow ops, for a batch of queries.

The plain version: the second truth beside tests/oracle.py, and the graph for a
TensorFlow Serving without our op. Ragged things (frontiers, candidates) are
padded to the longest of the batch with row -1.
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from nann.ops import Found
from nann.retrieval.result import BestFirstPolicy, PaperPolicy
from nann.retrieval.tensors import GraphTensors, Score

_NO_ROW = -1
# Sorts behind every row.
_LAST_ROW = np.iinfo(np.int32).max
_NO_SCORE = -np.inf


class _Beam(NamedTuple):
  rows: tf.Tensor  # [B, W] int32, best first, padded with -1.
  scores: tf.Tensor  # [B, W] float32.
  expanded: tf.Tensor  # [B, W] bool.


class _Evaluator:
  """Scores padded rows of a batch of users."""

  def __init__(self, score: Score, user_state: Any, item_state: Any) -> None:
    self._score, self._user_state = score, user_state
    self._item_state = item_state
    self.num_users = tf.shape(tf.nest.flatten(user_state)[0])[0]
    self.num_rows = tf.shape(tf.nest.flatten(item_state)[0])[0]

  def __call__(self, rows: tf.Tensor) -> tf.Tensor:
    """Returns [B, N] float32, -inf where `rows` [B, N] int32 is -1."""
    places = tf.maximum(rows, 0)
    items = tf.nest.map_structure(
      lambda state: tf.gather(state, places), self._item_state
    )
    scores = self._score(self._user_state, items)
    return tf.where(rows >= 0, scores, _NO_SCORE)


def _merge(
  beam: _Beam, rows: tf.Tensor, scores: tf.Tensor, width: int
) -> _Beam:
  """Returns the best `width` of beam and candidates."""
  rows = tf.concat([beam.rows, rows], axis=1)
  scores = tf.concat([beam.scores, scores], axis=1)
  new = tf.zeros([tf.shape(rows)[0], tf.shape(rows)[1]], tf.bool)
  expanded = tf.concat(
    [beam.expanded, new[:, tf.shape(beam.rows)[1] :]], axis=1
  )
  # Ties go to the lower row: sort by row, then top_k, which is stable.
  by_row = tf.argsort(tf.where(rows >= 0, rows, _LAST_ROW), axis=1, stable=True)
  by_row_scores = tf.gather(scores, by_row, batch_dims=1)
  best_scores, best = tf.math.top_k(
    by_row_scores, tf.minimum(width, tf.shape(rows)[1])
  )
  order = tf.gather(by_row, best, batch_dims=1)
  return _Beam(
    tf.gather(rows, order, batch_dims=1),
    best_scores,
    tf.gather(expanded, order, batch_dims=1),
  )


def _first_beam(rows: tf.Tensor, scores: tf.Tensor, width: int) -> _Beam:
  empty = _Beam(rows[:, :0], scores[:, :0], tf.zeros_like(rows[:, :0], tf.bool))
  return _merge(empty, rows, scores, width)


def _keys(rows: tf.Tensor, num_rows: tf.Tensor) -> tf.Tensor:
  """Returns places in a [B * I] table of the rows [B, N] that are not -1."""
  users = tf.range(tf.shape(rows)[0], dtype=tf.int64)[:, None]
  keys = users * tf.cast(num_rows, tf.int64) + tf.cast(rows, tf.int64)
  return tf.boolean_mask(keys, rows >= 0)


def _mark(visited: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
  return tf.tensor_scatter_nd_update(
    visited, keys[:, None], tf.ones_like(keys, tf.bool)
  )


def _unvisited_neighbors(
  level: tuple[tf.Tensor, tf.Tensor],
  frontier: tf.Tensor,
  visited: tf.Tensor,
  num_rows: tf.Tensor,
) -> tf.Tensor:
  """Returns the distinct unvisited neighbors of the frontier.

  Args:
    level: Neighbor lists.
    frontier: [B, F] int32, padded with -1.
    visited: [B * I] bool.
    num_rows: I.

  Returns:
    [B, C] int32 in the order in which the frontier meets them, padded.
  """
  values, row_splits = level
  num_users = tf.shape(frontier)[0]
  rows = tf.boolean_mask(frontier, frontier >= 0)  # [F'] of all users.
  users = tf.where(frontier >= 0)[:, 0]
  begins = tf.gather(row_splits, rows)
  lengths = tf.gather(row_splits, rows + 1) - begins
  starts = tf.cumsum(lengths, exclusive=True)
  total = tf.reduce_sum(lengths)
  places = tf.repeat(begins - starts, lengths) + tf.range(total)
  neighbors = tf.cast(tf.gather(values, places), tf.int64)
  keys = tf.repeat(users, lengths) * tf.cast(num_rows, tf.int64) + neighbors
  keys, _ = tf.unique(keys)  # Keeps the order of first occurrence.
  keys = tf.boolean_mask(keys, ~tf.gather(visited, keys))
  ragged = tf.RaggedTensor.from_value_rowids(
    tf.cast(keys % tf.cast(num_rows, tf.int64), tf.int32),
    keys // tf.cast(num_rows, tf.int64),
    nrows=tf.cast(num_users, tf.int64),
    validate=False,
  )
  return ragged.to_tensor(_NO_ROW)


def _count(rows: tf.Tensor) -> tf.Tensor:
  return tf.reduce_sum(tf.cast(rows >= 0, tf.int32), axis=1)


def _answers(beam: _Beam, num_scored: tf.Tensor, k: int) -> Found:
  missing = tf.maximum(k - tf.shape(beam.rows)[1], 0)
  rows = tf.pad(
    beam.rows[:, :k], [[0, 0], [0, missing]], constant_values=_NO_ROW
  )
  scores = tf.pad(
    beam.scores[:, :k], [[0, 0], [0, missing]], constant_values=_NO_SCORE
  )
  return Found(rows, scores, num_scored)


def paper_search(
  graph: GraphTensors,
  score: Score,
  user_state: Any,
  item_state: Any,
  policy: PaperPolicy,
  k: int,
) -> Found:
  """Searches level by level; see tests/oracle.py for the definition.

  Args:
    graph: Its start level fits the policy.
    score: The pair part of the scorer.
    user_state: Nest of [B, *].
    item_state: Nest of [I, *].
    policy: Widths and hops.
    k: K, results per query.

  Returns:
    rows [B, K], scores [B, K], num_scored [B, S].
  """
  evaluate = _Evaluator(score, user_state, item_state)
  entries = tf.tile(graph.entry_points[None], [evaluate.num_users, 1])
  beam = _first_beam(entries, evaluate(entries), policy.widths[-1])
  counts = [_count(entries)]
  for number in reversed(range(len(graph.levels))):
    visited = tf.zeros([evaluate.num_users * evaluate.num_rows], tf.bool)
    visited = _mark(visited, _keys(beam.rows, evaluate.num_rows))
    frontier = beam.rows
    for _ in range(policy.hops[number]):
      candidates = _unvisited_neighbors(
        graph.levels[number], frontier, visited, evaluate.num_rows
      )
      visited = _mark(visited, _keys(candidates, evaluate.num_rows))
      scores = evaluate(candidates)
      counts.append(_count(candidates))
      beam = _merge(beam, candidates, scores, policy.widths[number])
      # The beam's worst: -inf while it is not full.
      entered = scores >= beam.scores[:, -1:]
      frontier = tf.where(entered, candidates, _NO_ROW)
  return _answers(beam, tf.stack(counts, axis=1), k)


def best_first_search(
  graph: GraphTensors,
  score: Score,
  user_state: Any,
  item_state: Any,
  expand: tf.Tensor,
  only_score: tf.Tensor,
  policy: BestFirstPolicy,
  k: int,
) -> Found:
  """Searches best items first on level 0; see tests/oracle.py.

  Args:
    graph: Its level 0 is walked.
    score: The pair part of the scorer.
    user_state: Nest of [B, *].
    item_state: Nest of [I, *].
    expand: [B, F] int32 entries that are expanded whatever their score, padded
      with -1.
    only_score: [B, M] int32 entries that must earn it, padded with -1.
    policy: ef, width and limits.
    k: K, results per query.

  Returns:
    rows [B, K], scores [B, K], num_scored [B, max_steps].
  """
  evaluate = _Evaluator(score, user_state, item_state)
  num_rows, ef = evaluate.num_rows, max(policy.ef, k)
  visited = tf.zeros([evaluate.num_users * num_rows], tf.bool)
  both = tf.concat([expand, only_score], axis=1)
  entries = _limit(_distinct(both), policy.max_evaluations)
  visited = _mark(visited, _keys(entries, num_rows))
  beam = _first_beam(entries, evaluate(entries), ef)
  beam = _pad_beam(beam, ef)
  total = _count(entries)
  # Of the entries to expand, those that were scored: distinct, in order.
  num_expand = _count(_distinct(expand))
  inside = tf.range(tf.shape(entries)[1])[None] < num_expand[:, None]
  frontier = tf.where(inside, entries, _NO_ROW)
  chosen = _best_unexpanded(beam, policy.width)
  has_frontier = tf.reduce_any(frontier >= 0, axis=1, keepdims=True)
  frontier = tf.concat(
    [frontier, tf.where(has_frontier, _NO_ROW, chosen)], axis=1
  )
  counts = tf.one_hot(0, policy.max_steps, dtype=tf.int32) * total[:, None]

  def goes_on(step: tf.Tensor, frontier: tf.Tensor, *_: Any) -> tf.Tensor:
    return (step < policy.max_steps) & tf.reduce_any(frontier >= 0)

  def take_step(
    step: tf.Tensor,
    frontier: tf.Tensor,
    visited: tf.Tensor,
    total: tf.Tensor,
    counts: tf.Tensor,
    *parts: tf.Tensor,
  ) -> tuple[tf.Tensor, ...]:
    beam = _mark_expanded(_Beam(*parts), frontier)
    candidates = _unvisited_neighbors(
      graph.levels[0], frontier, visited, num_rows
    )
    candidates = _limit(candidates, policy.max_evaluations - total)
    visited = _mark(visited, _keys(candidates, num_rows))
    number = _count(candidates)
    total += number
    column = tf.one_hot(step, policy.max_steps, dtype=tf.int32)
    counts += column * number[:, None]
    beam = _merge(beam, candidates, evaluate(candidates), ef)
    frontier = _best_unexpanded(beam, policy.width)
    left = total < policy.max_evaluations
    frontier = tf.where(left[:, None], frontier, _NO_ROW)
    return step + 1, frontier, visited, total, counts, *beam

  left = total < policy.max_evaluations
  frontier = tf.where(left[:, None], frontier, _NO_ROW)
  unknown = tf.TensorShape([None, None])
  state = tf.while_loop(
    goes_on,
    take_step,
    (tf.constant(1), frontier, visited, total, counts, *beam),
    shape_invariants=(
      tf.TensorShape([]),
      unknown,
      tf.TensorShape([None]),
      tf.TensorShape([None]),
      tf.TensorShape([None, policy.max_steps]),
      *([unknown] * 3),
    ),
  )
  return _answers(_Beam(*state[5:]), state[4], k)


def _distinct(rows: tf.Tensor) -> tf.Tensor:
  """Keeps the first of equal rows of each query; closes the gaps."""
  count = tf.shape(rows)[1]
  same = rows[:, :, None] == rows[:, None, :]  # [B, n, n]
  earlier = tf.range(count)[None, :] < tf.range(count)[:, None]
  repeated = tf.reduce_any(same & earlier[None], axis=2)
  return _compact(tf.where(repeated, _NO_ROW, rows))


def _compact(rows: tf.Tensor) -> tf.Tensor:
  """Moves the -1 to the end, keeps the order of the others."""
  order = tf.argsort(tf.cast(rows < 0, tf.int32), axis=1, stable=True)
  return tf.gather(rows, order, batch_dims=1)


def _limit(rows: tf.Tensor, most: tf.Tensor | int) -> tf.Tensor:
  """Keeps the first `most` (scalar or [B]) rows of each query."""
  places = tf.range(tf.shape(rows)[1])[None]
  most = tf.reshape(tf.cast(most, tf.int32), [-1, 1])
  return tf.where(places < most, rows, _NO_ROW)


def _pad_beam(beam: _Beam, width: int) -> _Beam:
  missing = [[0, 0], [0, tf.maximum(width - tf.shape(beam.rows)[1], 0)]]
  return _Beam(
    tf.pad(beam.rows, missing, constant_values=_NO_ROW),
    tf.pad(beam.scores, missing, constant_values=_NO_SCORE),
    tf.pad(beam.expanded, missing),
  )


def _best_unexpanded(beam: _Beam, width: int) -> tf.Tensor:
  """Returns [B, W] int32: the best unexpanded rows, -1 for the others."""
  free = (beam.rows >= 0) & ~beam.expanded
  rank = tf.cumsum(tf.cast(free, tf.int32), axis=1)
  chosen = free & (rank <= width)
  return tf.where(chosen, beam.rows, _NO_ROW)


def _mark_expanded(beam: _Beam, frontier: tf.Tensor) -> _Beam:
  """Marks the beam's rows that are in the frontier."""
  same = beam.rows[:, :, None] == frontier[:, None, :]  # [B, W, F]
  hit = tf.reduce_any(same, axis=2) & (beam.rows >= 0)
  return beam._replace(expanded=beam.expanded | hit)
