"""What a test of the search asks: a world, scores and a filter, all drawn."""

from typing import NamedTuple

import numpy as np

from tests import filters, worlds


class Case(NamedTuple):
  """A world, with what to ask of it."""

  world: worlds.World
  scores: np.ndarray  # [B, I] float32
  filter: filters.Filter
  k: int
  rng: np.random.Generator


def draw(
  world_seed: int, case_seed: int, is_filtered: bool, num_users: int
) -> Case:
  """Draws a world with a filter or without."""
  world = worlds.random_world(world_seed, num_users)
  rng = np.random.default_rng(case_seed)
  num_rows = world.graph.num_rows
  allowed = filters.Filter()
  if is_filtered:
    allowed = filters.random_filter(rng, num_users, num_rows)
  scores = worlds.awkward_scores(rng, (num_users, num_rows))
  return Case(world, scores, allowed, int(rng.integers(1, 15)), rng)
