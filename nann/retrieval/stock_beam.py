"""What a walk in stock TensorFlow ops is made of: beams, candidates, filters.

For a batch of queries: what differs in length between them is padded with row
-1 to the longest. Knows no policy.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from nann.retrieval.tensors import Score

NO_ROW = -1
# Sorts behind every row.
_LAST_ROW = np.iinfo(np.int32).max
NO_SCORE = -np.inf

# [B, N] int32 rows -> [B, N] bool: which may be returned. -1 may not.
Filter = Callable[[tf.Tensor], tf.Tensor]


class Beam(NamedTuple):
  """Rows best first: score descending, then row ascending.

  Attributes:
    rows: [B, W] int32, padded with -1.
    scores: [B, W] float32, padded with -inf.
    expanded: [B, W] bool.
  """

  rows: tf.Tensor
  scores: tf.Tensor
  expanded: tf.Tensor


class Evaluator:
  """Scores padded rows of a batch of users."""

  def __init__(self, score: Score, user_state: Any, item_state: Any) -> None:
    self._score, self._user_state = score, user_state
    self._item_state = item_state

  def __call__(self, rows: tf.Tensor) -> tf.Tensor:
    """Returns [B, N] float32, -inf where `rows` [B, N] int32 is -1."""
    places = tf.maximum(rows, 0)
    items = tf.nest.map_structure(
      lambda state: tf.gather(state, places), self._item_state
    )
    scores = self._score(self._user_state, items)
    return tf.where(rows >= 0, scores, NO_SCORE)


def merge(
  beam: Beam, rows: tf.Tensor, scores: tf.Tensor, width: tf.Tensor | int
) -> Beam:
  """Returns the best `width` of beam and candidates."""
  both = _sorted_by_row(beam, rows, scores)
  return _best(both, tf.minimum(width, tf.shape(both.rows)[1]))


def merge_filtered(
  beam: Beam,
  rows: tf.Tensor,
  scores: tf.Tensor,
  width: tf.Tensor | int,
  may_return: Filter,
) -> Beam:
  """Returns the best of beam and candidates down to the `width`-th allowed row.

  What ranks higher than that is kept, allowed or not: it may be worth
  expanding.
  """
  both = _sorted_by_row(beam, rows, scores)
  both = _best(both, tf.shape(both.rows)[1])
  before = tf.cumsum(
    tf.cast(may_return(both.rows), tf.int32), axis=1, exclusive=True
  )
  kept = (both.rows >= 0) & (before < width)
  longest = _longest(kept)
  return Beam(
    tf.where(kept, both.rows, NO_ROW)[:, :longest],
    tf.where(kept, both.scores, NO_SCORE)[:, :longest],
    both.expanded[:, :longest],
  )


def _sorted_by_row(beam: Beam, rows: tf.Tensor, scores: tf.Tensor) -> Beam:
  """Joins beam and candidates in the order of rows, so that ties go there."""
  rows = tf.concat([beam.rows, rows], axis=1)
  scores = tf.concat([beam.scores, scores], axis=1)
  missing = tf.shape(rows)[1] - tf.shape(beam.rows)[1]
  expanded = tf.pad(beam.expanded, [[0, 0], [0, missing]])
  order = tf.argsort(tf.where(rows >= 0, rows, _LAST_ROW), axis=1, stable=True)
  return _in_order(Beam(rows, scores, expanded), order)


def _best(beam: Beam, number: tf.Tensor) -> Beam:
  """Returns the best `number`; top_k is stable."""
  _, order = tf.math.top_k(beam.scores, number)
  return _in_order(beam, order)


def _in_order(beam: Beam, order: tf.Tensor) -> Beam:
  return Beam(*(tf.gather(part, order, batch_dims=1) for part in beam))


def empty_beam(rows: tf.Tensor) -> Beam:
  """Returns an empty beam for as many queries as `rows` [B, *] has."""
  nothing = rows[:, :0]
  return Beam(nothing, tf.cast(nothing, tf.float32), tf.cast(nothing, tf.bool))


def only_allowed(beam: Beam, may_return: Filter) -> Beam:
  """Returns the rows of a beam that may be returned, best first."""
  allowed = may_return(beam.rows)
  order = tf.argsort(tf.cast(~allowed, tf.int32), axis=1, stable=True)
  cut = Beam(
    tf.where(allowed, beam.rows, NO_ROW),
    tf.where(allowed, beam.scores, NO_SCORE),
    beam.expanded,
  )
  return _in_order(cut, order)


def best_unexpanded(beam: Beam, width: tf.Tensor | int) -> tf.Tensor:
  """Returns [B, W] int32: the best unexpanded rows, -1 for the others."""
  free = (beam.rows >= 0) & ~beam.expanded
  rank = tf.cumsum(tf.cast(free, tf.int32), axis=1)
  return tf.where(free & (rank <= width), beam.rows, NO_ROW)


def mark_expanded(beam: Beam, frontier: tf.Tensor) -> Beam:
  """Marks the beam's rows that are in the frontier."""
  same = beam.rows[:, :, None] == frontier[:, None, :]  # [B, W, F]
  hit = tf.reduce_any(same, axis=2) & (beam.rows >= 0)
  return beam._replace(expanded=beam.expanded | hit)


def mark_visited(
  visited: tf.Tensor, rows: tf.Tensor, num_rows: tf.Tensor
) -> tf.Tensor:
  """Marks rows [B, N] in visited [B * I] bool."""
  keys = tf.boolean_mask(_keys(rows, num_rows), rows >= 0)
  return tf.tensor_scatter_nd_update(
    visited, keys[:, None], tf.ones_like(keys, tf.bool)
  )


def _keys(rows: tf.Tensor, num_rows: tf.Tensor) -> tf.Tensor:
  """Returns [B, N] int64 places of rows in a table [B * I]."""
  users = tf.range(tf.shape(rows)[0], dtype=tf.int64)[:, None]
  return users * tf.cast(num_rows, tf.int64) + tf.cast(rows, tf.int64)


def unvisited_neighbors(
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
  return ragged.to_tensor(NO_ROW)


def make_filter(
  num_users: tf.Tensor,
  num_rows: tf.Tensor,
  allowed: tf.Tensor | None,
  denied: tf.Tensor | None,
) -> Filter:
  """Makes a filter of bits and lists.

  Args:
    num_users: B.
    num_rows: I.
    allowed: [B, (I + 7) / 8] uint8 bits of the rows that may be returned (row r
      is bit r % 8 of byte r / 8), [0, 0] or None: all.
    denied: [B, X] int32 rows that may not be returned, padded with -1.
  """
  shape = [num_users, num_rows]
  table = tf.ones(shape, tf.bool)
  if allowed is not None:
    every_bit = tf.constant(1 << np.arange(8), tf.uint8)
    bits = tf.bitwise.bitwise_and(allowed[..., None], every_bit) != 0
    bits = tf.reshape(bits, [tf.shape(allowed)[0], -1])[:, :num_rows]
    # [0, 0] allows all.
    missing = shape - tf.shape(bits)
    table = tf.pad(
      bits, [[0, missing[0]], [0, missing[1]]], constant_values=True
    )
  flat = tf.reshape(table, [-1])
  if denied is not None:
    keys = tf.boolean_mask(_keys(denied, num_rows), denied >= 0)
    flat = tf.tensor_scatter_nd_update(
      flat, keys[:, None], tf.zeros_like(keys, tf.bool)
    )

  def may_return(rows: tf.Tensor) -> tf.Tensor:
    places = _keys(tf.maximum(rows, 0), num_rows)
    return tf.gather(flat, places) & (rows >= 0)

  return may_return


def count(rows: tf.Tensor) -> tf.Tensor:
  """Returns [B] int32: how many of rows [B, N] are not -1."""
  return tf.reduce_sum(tf.cast(rows >= 0, tf.int32), axis=1)


def _longest(kept: tf.Tensor) -> tf.Tensor:
  """Returns the most columns that a query keeps of [B, W] bool."""
  return tf.reduce_max(
    tf.concat([[0], tf.reduce_sum(tf.cast(kept, tf.int32), axis=1)], axis=0)
  )


def distinct(rows: tf.Tensor) -> tf.Tensor:
  """Keeps the first of equal rows of each query; closes the gaps."""
  number = tf.shape(rows)[1]
  same = rows[:, :, None] == rows[:, None, :]  # [B, n, n]
  earlier = tf.range(number)[None, :] < tf.range(number)[:, None]
  repeated = tf.reduce_any(same & earlier[None], axis=2)
  rows = tf.where(repeated, NO_ROW, rows)
  order = tf.argsort(tf.cast(rows < 0, tf.int32), axis=1, stable=True)
  return tf.gather(rows, order, batch_dims=1)


def limit(rows: tf.Tensor, most: tf.Tensor) -> tf.Tensor:
  """Keeps the first `most` (scalar or [B] int32) rows of each query."""
  places = tf.range(tf.shape(rows)[1])[None]
  return tf.where(places < tf.reshape(most, [-1, 1]), rows, NO_ROW)
