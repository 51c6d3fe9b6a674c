"""The search in C++ against the plain definition, through nann._core.

Scores are whole numbers (or infinite), so that rows, scores and the number of
evaluations of every step are equal, not nearly so.
"""

import numpy as np
import pytest

from nann import _core
from tests import oracle, search_cases, worlds
from tests.ops.core import batches
from tests.search_cases import Case

NUM_CHUNKS = 10
WORLDS_IN_CHUNK = 300
NUM_USERS = 4


def cases(chunk: int, is_filtered: bool) -> list[Case]:
  made = []
  for number in range(WORLDS_IN_CHUNK):
    seed = 2 * (chunk * WORLDS_IN_CHUNK + number) + is_filtered
    made.append(search_cases.draw(seed, seed + 30_000, is_filtered, NUM_USERS))
  return made


def check(
  case: Case,
  policy: _core.PaperPolicy | _core.BestFirstPolicy,
  expected: list[oracle.Found],
) -> None:
  answer = batches.core_graph(case.world.graph).search(
    score=lambda rows, user: case.scores[user][rows],
    batch=batches.batch(
      policy,
      case.k,
      case.world.expand,
      case.world.only_score,
      case.filter.allowed,
      case.filter.denied,
    ),
    num_threads=1,
  )
  num_steps = max(len(found.num_scored) for found in expected)
  for user, found in enumerate(expected):
    missing = [0] * (num_steps - len(found.num_scored))
    found = found._replace(num_scored=found.num_scored + missing)
    assert batches.found_of(answer, user) == found


@pytest.mark.parametrize("is_filtered", [False, True])
@pytest.mark.parametrize("chunk", range(NUM_CHUNKS))
def test_paper_policy_is_the_definition(chunk: int, is_filtered: bool) -> None:
  for case in cases(chunk, is_filtered):
    num_levels = len(case.world.graph.levels)
    hops = [*case.rng.integers(1, 4, num_levels).tolist(), 1]
    num_widths = case.rng.choice([num_levels + 1, sum(hops)])
    widths = case.rng.integers(1, 12, num_widths).tolist()
    expected = [
      oracle.paper_search(
        [case.world.lists(level) for level in range(num_levels)],
        case.world.graph.entry_points.tolist(),
        lambda rows, own=case.scores[user]: own[rows],
        widths,
        hops,
        case.k,
        case.filter.allows(user),
      )
      for user in range(NUM_USERS)
    ]
    check(case, _core.PaperPolicy(widths, hops), expected)


@pytest.mark.parametrize("is_filtered", [False, True])
@pytest.mark.parametrize("chunk", range(NUM_CHUNKS))
def test_best_first_policy_is_the_definition(
  chunk: int, is_filtered: bool
) -> None:
  for case in cases(chunk, is_filtered):
    limits = {
      "ef": int(case.rng.integers(1, 20)),
      "width": int(case.rng.integers(1, 6)),
      "max_steps": int(case.rng.choice([1, 2, 3, 50])),
      "max_evaluations": int(case.rng.choice([1, 3, 7, 1000])),
    }
    lists = case.world.lists(0)
    expected = [
      oracle.best_first_search(
        lists,
        [row for row in case.world.expand[user].tolist() if row >= 0],
        [row for row in case.world.only_score[user].tolist() if row >= 0],
        lambda rows, own=case.scores[user]: own[rows],
        k=case.k,
        allowed=case.filter.allows(user),
        **limits,
      )
      for user in range(NUM_USERS)
    ]
    check(case, _core.BestFirstPolicy(**limits), expected)


EVERYTHING = _core.BestFirstPolicy(
  ef=1000, width=3, max_steps=1000, max_evaluations=1000
)


@pytest.mark.parametrize("num_rows", [1, 8, 31, 32, 33, 63, 64, 65])
def test_each_bit_allows_its_own_row(num_rows: int) -> None:
  graph = batches.core_graph(worlds.complete_graph(num_rows))
  bits = np.eye(num_rows, dtype=bool)
  allowed = np.packbits(bits, axis=1, bitorder="little")
  expand = np.zeros((num_rows, 1), np.int32)
  for policy in [EVERYTHING, _core.PaperPolicy([1, 1], [1, 1])]:
    rows, _, _ = graph.search(
      lambda rows, _: rows.astype(np.float32),
      batches.batch(policy, 2, expand, allowed=allowed),
      1,
    )
    assert rows[:, 0].tolist() == list(range(num_rows))
    assert (rows[:, 1] == -1).all()


def test_both_zeros_are_the_same_score() -> None:
  graph = batches.core_graph(worlds.complete_graph(4))
  own = np.array([0.0, -0.0, 0.0, -0.0], np.float32)
  rows, scores, _ = graph.search(
    lambda rows, _: own[rows], batches.batch(EVERYTHING, 4, [[3]]), 1
  )
  assert rows.tolist() == [[0, 1, 2, 3]]
  assert not np.signbit(scores).any()


def test_all_is_found_from_best_to_worst() -> None:
  own = np.array([-np.inf, -1e38, -1, -1e-45, 0, 1e-45, 1, 1e38, np.inf])
  graph = batches.core_graph(worlds.complete_graph(len(own)))
  rows, scores, _ = graph.search(
    lambda rows, _: own[rows], batches.batch(EVERYTHING, 12, [[4]]), 1
  )
  assert rows[0].tolist() == [*range(len(own))][::-1] + [-1] * 3
  np.testing.assert_array_equal(scores[0, :9], own[::-1].astype(np.float32))


@pytest.mark.parametrize("num_threads", [1, 4])
@pytest.mark.parametrize(
  "policy", [EVERYTHING, _core.PaperPolicy([4, 4], [2, 1])]
)
@pytest.mark.parametrize("bad", [0, 2])
def test_score_that_is_no_number_is_refused(
  bad: int, policy: _core.PaperPolicy | _core.BestFirstPolicy, num_threads: int
) -> None:
  own = np.arange(4, dtype=np.float32)
  own[bad] = np.nan
  graph = batches.core_graph(worlds.complete_graph(4))
  questions = batches.batch(policy, 2, [[0]] * 8)
  with pytest.raises(ValueError, match=f"score of row {bad} is not a number"):
    graph.search(lambda rows, _: own[rows], questions, num_threads)


def test_wide_beams_take_no_room() -> None:
  graph = batches.core_graph(worlds.complete_graph(5))
  most = 2**31 - 1
  for policy in [
    _core.BestFirstPolicy(10**12, 10**12, 10**12, 10**12),
    _core.PaperPolicy([most, most], [3, 1]),
  ]:
    rows, _, num_scored = graph.search(
      lambda rows, _: rows.astype(np.float32),
      batches.batch(policy, 3, [[0]]),
      1,
    )
    assert rows.tolist() == [[4, 3, 2]]
    assert num_scored.sum() == 5
