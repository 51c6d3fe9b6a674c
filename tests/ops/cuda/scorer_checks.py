"""Comparisons of the pair scorer on a GPU with plain NumPy; see cases.py."""

import numpy as np

from benchmark import cuda_library as cuda
from benchmark import cuda_scorers as scorers
from tests.ops.cuda import cases, pairs


def check_shape(library: cuda.Library, way: str, shape: str) -> None:
  """The scores of random numbers are right but for rounding."""
  num_rows, num_users = 201, 3
  world = pairs.make_world(shape, way, num_rows, num_users, seed=1)
  scorer = world.scorer(library)
  scan = scorers.Scan(scorer, num_rows, part_rows=64)
  scan.run()
  rows, scores, faults = scan.answers()
  assert not faults[:, 0].any()
  assert (np.sort(rows, axis=1) == np.arange(num_rows)).all()
  wanted = world.scores()
  got = np.empty_like(wanted)
  np.put_along_axis(got, rows, scores, 1)
  # Relative to the range: how far the rounding of the type may reach.
  error = np.abs(got - wanted).max() / np.ptp(wanted)
  assert error < pairs.WAYS[way].tolerance, (way, shape, error)
  # The same without a search.
  given = scorers.score_rows(scorer, num_rows, has_rows_per_query=False)
  assert (given == got).all(), (way, shape)
  number = num_rows // num_users
  given = scorers.score_rows(scorer, number, has_rows_per_query=True)
  own = [got[i, i * number : (i + 1) * number] for i in range(num_users)]
  assert (given == own).all(), (way, shape)


def check_pairs(library: cuda.Library, way: str) -> None:
  """Every shape to rounding, and whole numbers exactly."""
  for shape in pairs.SHAPES:
    check_shape(library, way, shape)
  world = pairs.make_whole_world(way, num_rows=200, num_users=5, seed=2)
  cases.check_scan(world.scorer(library), world.scores(), 20)


def check_pair_search(library: cuda.Library, way: str, num_worlds: int) -> None:
  """Search by steps and as a walk is the definition, with whole numbers."""
  for seed in range(3000, 3000 + num_worlds):
    case = cases.make_case(seed, is_filtered=seed % 2 == 0)
    num_rows = case.world.graph.num_rows
    world = pairs.make_whole_world(way, num_rows, cases.NUM_USERS, seed)
    case = case._replace(scores=world.scores())
    scorer = world.scorer(library)
    options = cuda.Options(has_room_for_ties=1, num_threads=64)
    policy: cuda.Paper | cuda.BestFirst
    for policy in [cases.random_paper(case), cases.random_best_first(case)]:
      search = cases.make_search(library, case, policy, options)
      wanted = cases.expected(case, policy)
      found = scorers.search_by_steps(search, scorer)
      cases.check(found, wanted, f"seed {seed}")
      scorers.walk(search, scorer)
      cases.check(search.answers(), wanted, f"seed {seed}, walk")
