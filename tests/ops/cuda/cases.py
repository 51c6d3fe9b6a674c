"""Searches of random worlds on a GPU, compared with the definition.

NumPy and ctypes alone, so that the same cases run under the emulator, by
pytest, and on a machine that has a GPU and little else.
"""

from collections.abc import Callable

import numpy as np

from benchmark import cuda_library as cuda
from benchmark import cuda_scorers as scorers
from tests import oracle, search_cases
from tests.search_cases import Case

NUM_USERS = 4
# Few threads: most lists take several rounds. More than 64: several warps.
OPTIONS = {
  "narrow": cuda.Options(has_room_for_ties=1, num_threads=32),
  "hash table": cuda.Options(
    has_room_for_ties=1, num_threads=64, max_bitmap_bytes=1
  ),
  "wide": cuda.Options(has_room_for_ties=1, num_threads=256),
}


def make_case(seed: int, is_filtered: bool, num_users: int = NUM_USERS) -> Case:
  """Draws a world with a filter or without."""
  return search_cases.draw(seed, seed + 40_000, is_filtered, num_users)


def random_paper(case: Case) -> cuda.Paper:
  num_levels = len(case.world.graph.levels)
  hops = [*case.rng.integers(1, 4, num_levels).tolist(), 1]
  num_widths = case.rng.choice([num_levels + 1, sum(hops)])
  return cuda.Paper(case.rng.integers(1, 12, num_widths).tolist(), hops)


def random_best_first(case: Case) -> cuda.BestFirst:
  return cuda.BestFirst(
    ef=int(case.rng.integers(1, 20)),
    width=int(case.rng.integers(1, 6)),
    max_steps=int(case.rng.choice([1, 2, 3, 50])),
    max_evaluations=int(case.rng.choice([1, 3, 7, 1000])),
  )


def expected(
  case: Case, policy: cuda.Paper | cuda.BestFirst
) -> list[oracle.Found]:
  """Returns what the definition finds, user by user."""
  world = case.world
  lists = [world.lists(level) for level in range(len(world.graph.levels))]
  found = []
  for user, own in enumerate(case.scores):

    def score(rows: np.ndarray, own: np.ndarray = own) -> np.ndarray:
      return own[rows]

    allowed = case.filter.allows(user)
    if isinstance(policy, cuda.Paper):
      entries = world.graph.entry_points.tolist()
      answer = oracle.paper_search(
        lists, entries, score, *policy, case.k, allowed
      )
    else:
      expand, only_score = (
        [row for row in rows[user].tolist() if row >= 0]
        for rows in (world.expand, world.only_score)
      )
      answer = oracle.best_first_search(
        lists[0], expand, only_score, score, *policy, case.k, allowed
      )
    found.append(answer)
  return found


def make_search(
  library: cuda.Library,
  case: Case,
  policy: cuda.Paper | cuda.BestFirst,
  options: cuda.Options | None = None,
) -> cuda.Search:
  graph = cuda.Graph(
    library,
    [(level.values, level.row_splits) for level in case.world.graph.levels],
    case.world.graph.entry_points,
  )
  queries = cuda.Queries(
    case.k,
    case.world.expand,
    case.world.only_score,
    case.filter.allowed,
    case.filter.denied,
  )
  return cuda.Search(graph, policy, queries, options)


def answers(found: cuda.Found) -> list[oracle.Found]:
  """Returns the answers without their padding, checking that it is one."""
  result = []
  for rows, scores, num_scored in zip(*found[:3], strict=True):
    number = int((rows >= 0).sum())
    assert (rows[number:] == -1).all()
    assert (scores[number:] == -np.inf).all()
    result.append(
      oracle.Found(
        rows[:number].tolist(), scores[:number].tolist(), num_scored.tolist()
      )
    )
  return result


def check(found: cuda.Found, wanted: list[oracle.Found], what: str) -> None:
  """Compares answers and the evaluations of every step, to the last one."""
  assert not found.faults[:, 0].any(), (what, found.faults.tolist())
  num_steps = found.num_scored.shape[1]
  for user, (got, want) in enumerate(zip(answers(found), wanted, strict=True)):
    missing = [0] * (num_steps - len(want.num_scored))
    want = want._replace(num_scored=want.num_scored + missing)
    assert got == want, f"{what}, user {user}: got {got}, wanted {want}"


def check_host_scores(
  library: cuda.Library,
  seed: int,
  is_filtered: bool,
  draw: Callable[[Case], cuda.Paper | cuda.BestFirst],
  options: cuda.Options,
) -> None:
  """A search whose scores come from the host is the definition."""
  case = make_case(seed, is_filtered)
  policy = draw(case)
  search = make_search(library, case, policy, options)
  found = cuda.search_with(search, lambda rows, user: case.scores[user][rows])
  check(found, expected(case, policy), f"seed {seed}")


def vectors_of(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
  """Makes vectors of small whole numbers: their scores are exact."""
  return rng.integers(-3, 4, shape).astype(np.float32)


def metric_case(seed: int, is_l2: bool, width: int) -> tuple[Case, np.ndarray]:
  """Draws a world scored by vectors; returns them and the queries in one."""
  case = make_case(seed, is_filtered=seed % 2 == 1)
  num_rows = case.world.graph.num_rows
  vectors = vectors_of(case.rng, (num_rows + NUM_USERS, width))
  rows, queries = vectors[:num_rows], vectors[num_rows:]
  scores = queries @ rows.T
  if is_l2:
    scores = -((queries[:, None] - rows) ** 2).sum(-1)
  return case._replace(scores=scores.astype(np.float32)), vectors


def check_metric(
  library: cuda.Library, seed: int, is_l2: bool, kind: int, width: int
) -> None:
  """Search by steps and in one go, and the scan, are the definition."""
  case, vectors = metric_case(seed, is_l2, width)
  num_rows = case.world.graph.num_rows
  scorer = scorers.VectorScorer(
    library,
    scorers.as_type(vectors[:num_rows], kind),
    np.ascontiguousarray(vectors[num_rows:]),
    is_l2,
    kind,
  )
  options = cuda.Options(has_room_for_ties=1, num_threads=64)
  policy: cuda.Paper | cuda.BestFirst
  for policy in [random_paper(case), random_best_first(case)]:
    search = make_search(library, case, policy, options)
    wanted = expected(case, policy)
    check(scorers.search_by_steps(search, scorer), wanted, f"seed {seed}")
    if isinstance(policy, cuda.BestFirst):
      scorers.walk(search, scorer)
      check(search.answers(), wanted, f"seed {seed}, walk")
  check_scan(scorer, case.scores, case.k)


def check_scan(
  scorer: scorers.Scorer, scores: np.ndarray, k: int, part_rows: int = 64
) -> None:
  """The scan finds the best rows: score descending, then row ascending."""
  scan = scorers.Scan(scorer, k, part_rows)
  scan.run()
  rows, found, faults = scan.answers()
  assert not faults[:, 0].any()
  number = min(k, scores.shape[1])
  order = np.lexsort(
    (np.broadcast_to(np.arange(scores.shape[1]), scores.shape), -scores)
  )[:, :number]
  np.testing.assert_array_equal(rows[:, :number], order)
  np.testing.assert_array_equal(
    found[:, :number], np.take_along_axis(scores, order, 1)
  )
  assert (rows[:, number:] == -1).all()
  assert (found[:, number:] == -np.inf).all()
