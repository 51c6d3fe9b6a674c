"""Searches for the tests of the op: inputs by name, and the oracle's answers.

The score of row r for a user is the r-th entry of the user's state, so that
worlds with integer-valued scores are answered exactly. The scorer is traced
once: a search of a new world costs no new function.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow as tf

from nann import ops
from nann.retrieval.result import BestFirstPolicy, PaperPolicy, Policy
from tests import oracle, worlds

MAX_K = 15


@dataclasses.dataclass(frozen=True)
class Settings:
  """How a world is searched: both policies' parameters, k, and who may win."""

  widths: list[int]
  hops: list[int]
  limits: list[int]
  k: int
  allowed: np.ndarray | None  # [B, I] bool.
  denied: np.ndarray | None  # [B, X] int32, padded with -1.


def random_settings(world: worlds.World, seed: int) -> Settings:
  """Draws settings; half of them with a filter."""
  rng = np.random.default_rng(seed + 50_000)
  num_users, num_rows = world.scores.shape
  num_levels = len(world.graph.levels)
  limits = [
    int(rng.integers(1, 20)),
    int(rng.integers(1, 6)),
    int(rng.choice([1, 3, 50, 50])),
    int(rng.choice([1, 7, 1000, 1000])),
  ]
  allowed = rng.random((num_users, num_rows)) < rng.choice([0.1, 0.5, 0.9])
  denied = rng.integers(-1, num_rows, (num_users, int(rng.integers(0, 8))))
  hops = [*rng.integers(1, 4, num_levels).tolist(), 1]
  # One for each level, or one for each step.
  num_widths = num_levels + 1 if rng.random() < 0.5 else sum(hops)
  return Settings(
    widths=rng.integers(1, 12, num_widths).tolist(),
    hops=hops,
    limits=limits,
    k=int(rng.integers(1, MAX_K)),
    allowed=allowed if rng.random() < 0.3 else None,
    denied=denied.astype(np.int32) if rng.random() < 0.3 else None,
  )


def lookup(table: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
  """Scores [1, n] of rows [1, n] by a table [1, I]."""
  return tf.gather(table[0], rows)


@functools.cache
def lookup_function() -> tf.types.experimental.ConcreteFunction:
  """`lookup` for a table of any length."""
  return tf.function(lookup).get_concrete_function(
    tf.TensorSpec([1, None], tf.float32), tf.TensorSpec([1, None], tf.int32)
  )


def inputs(
  world: worlds.World,
  policy: str = "best_first",
  settings: Settings | None = None,
) -> dict[str, Any]:
  """Returns the inputs of the op for a world, by name."""
  num_users, num_rows = world.scores.shape
  num_levels = len(world.graph.levels)
  settings = settings or Settings(
    [9] * (num_levels + 1),
    [2] * num_levels + [1],
    [9, 2, 20, 999],
    5,
    None,
    None,
  )
  is_paper = policy == "paper"
  allowed, denied = settings.allowed, settings.denied
  if allowed is None:
    bits = np.zeros((0, 0), np.uint8)
  else:
    bits = np.packbits(allowed, axis=1, bitorder="little")
  if denied is None:
    denied = np.zeros((num_users, 0), np.int32)
  return {
    "values": [level.values for level in world.graph.levels],
    "row_splits": [level.row_splits for level in world.graph.levels],
    "entry_points": world.graph.entry_points,
    "expand": world.expand,
    "only_score": world.only_score,
    "allowed": bits,
    "denied": denied,
    "widths": np.array(settings.widths if is_paper else [], np.int32),
    "hops": np.array(settings.hops if is_paper else [], np.int32),
    "limits": np.array([] if is_paper else settings.limits, np.int64),
    "k": np.int32(settings.k),
    "user_state": [world.scores],
    "item_state": [np.arange(num_rows, dtype=np.int32)],
    "captured": [],
    "policy": policy,
    "scorer": lookup_function(),
  }


def policy(name: str, settings: Settings) -> Policy:
  """Returns one of the policies of some settings."""
  if name == "paper":
    return PaperPolicy(tuple(settings.widths), tuple(settings.hops))
  return BestFirstPolicy(*settings.limits)


def call(arguments: dict[str, Any]) -> ops.Found:
  """Calls the op."""
  return ops.Found(*ops.library().nann_beam_search(**arguments))


def answers(found: Any) -> list[oracle.Found]:
  """Returns the answers of each user, without padding but of num_scored."""
  result = []
  for rows, scores, counts in zip(
    *(np.asarray(tensor) for tensor in found), strict=True
  ):
    present = rows >= 0
    # What is missing comes last, with no score.
    assert (np.diff(present.astype(int)) <= 0).all()
    assert (scores[~present] == -np.inf).all()
    result.append(
      oracle.Found(
        rows[present].tolist(), scores[present].tolist(), counts.tolist()
      )
    )
  return result


def expected(
  world: worlds.World, policy: str, settings: Settings
) -> list[oracle.Found]:
  """Returns what the oracle answers, num_scored padded as the op pads it."""
  levels = [world.lists(level) for level in range(len(world.graph.levels))]
  result = []
  for user in range(len(world.scores)):
    score = world.scores[user].__getitem__
    may_win = _allowed(settings, user)
    if policy == "paper":
      found = oracle.paper_search(
        levels,
        world.graph.entry_points.tolist(),
        score,
        settings.widths,
        settings.hops,
        settings.k,
        may_win,
      )
    else:
      found = oracle.best_first_search(
        levels[0],
        [row for row in world.expand[user] if row >= 0],
        [row for row in world.only_score[user] if row >= 0],
        score,
        *settings.limits,
        settings.k,
        may_win,
      )
      missing = settings.limits[2] - len(found.num_scored)
      found.num_scored.extend([0] * missing)
    result.append(found)
  return result


def _allowed(settings: Settings, user: int) -> oracle.Allowed:
  def may_win(row: int) -> bool:
    if settings.allowed is not None and not settings.allowed[user, row]:
      return False
    return settings.denied is None or row not in settings.denied[user]

  return may_win


def chain(length: int) -> dict[str, Any]:
  """Inputs of a search that goes along a chain, a row a step, to its end."""
  rows = np.arange(length, dtype=np.int32)
  return {
    "values": [rows[1:]],
    "row_splits": [np.minimum(np.arange(length + 1), length - 1)],
    "entry_points": rows[:1],
    "expand": rows[None, :1],
    "only_score": np.zeros((1, 0), np.int32),
    "allowed": np.zeros((0, 0), np.uint8),
    "denied": np.zeros((1, 0), np.int32),
    "widths": np.zeros(0, np.int32),
    "hops": np.zeros(0, np.int32),
    "limits": np.array([1, 1, length, length], np.int64),
    "k": np.int32(1),
    "user_state": [rows[None].astype(np.float32)],
    "item_state": [rows],
    "captured": [],
    "policy": "best_first",
    "scorer": lookup_function(),
  }
