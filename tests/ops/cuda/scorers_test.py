"""The scorers that are built in on a GPU: metrics, pairs, exact scans."""

import numpy as np
import pytest

from benchmark import cuda_library as cuda
from benchmark import cuda_scorers as scorers
from tests.ops.cuda import cases, pairs, scorer_checks

KINDS = {
  "float32": scorers.FLOAT32,
  "float16": scorers.FLOAT16,
  "bfloat16": scorers.BFLOAT16,
}
# One that is read four numbers at a time, and one that is not.
WIDTHS = [40, 5]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_l2", [False, True])
def test_search_of_vectors_is_the_definition(
  library: cuda.Library, is_l2: bool, kind: str, width: int
) -> None:
  for seed in range(2000, 2015):
    cases.check_metric(library, seed, is_l2, KINDS[kind], width)


@pytest.mark.parametrize("k", [1, 10, 3000, 4000])
@pytest.mark.parametrize("part_rows", [100, 0])
def test_scan_finds_the_best_of_all_rows(
  library: cuda.Library, k: int, part_rows: int
) -> None:
  # More than a first part, and more than is sorted in shared memory.
  num_rows = 3500 if k <= 10 else 3000
  vectors = cases.vectors_of(np.random.default_rng(k), (num_rows + 2, 4))
  rows, queries = vectors[:num_rows], vectors[num_rows:]
  scorer = scorers.VectorScorer(
    library,
    np.ascontiguousarray(rows),
    np.ascontiguousarray(queries),
    is_l2=False,
  )
  cases.check_scan(scorer, queries @ rows.T, k, part_rows)


def test_scan_tells_of_a_score_that_is_no_number(library: cuda.Library) -> None:
  rows = np.zeros((300, 4), np.float32)
  rows[[200, 100]] = np.nan
  scorer = scorers.VectorScorer(
    library, rows, np.ones((2, 4), np.float32), is_l2=False
  )
  scan = scorers.Scan(scorer, 3)
  scan.run()
  assert scan.answers()[2].tolist() == [[cuda.NOT_A_NUMBER, 100]] * 2


@pytest.mark.parametrize("shape", pairs.SHAPES)
@pytest.mark.parametrize("way", pairs.WAYS)
def test_pairs_are_scored_like_the_definition(
  library: cuda.Library, way: str, shape: str
) -> None:
  scorer_checks.check_shape(library, way, shape)


@pytest.mark.parametrize("way", pairs.WAYS)
def test_whole_numbers_are_scored_exactly(
  library: cuda.Library, way: str
) -> None:
  world = pairs.make_whole_world(way, num_rows=200, num_users=5, seed=2)
  cases.check_scan(world.scorer(library), world.scores(), 20)


@pytest.mark.parametrize("way", pairs.WAYS)
def test_search_of_pairs_is_the_definition(
  library: cuda.Library, way: str
) -> None:
  scorer_checks.check_pair_search(library, way, num_worlds=10)


def test_history_of_padding_alone_gets_a_number(library: cuda.Library) -> None:
  world = pairs.make_world("attention", "float16", 70, 2, seed=3)
  users = world.users._replace(
    key_bias=np.full_like(world.users.key_bias, -1e9)
  )
  world = world._replace(users=users)
  scan = scorers.Scan(world.scorer(library), 70)
  scan.run()
  rows, scores, _ = scan.answers()
  wanted = np.take_along_axis(world.scores(), rows, 1)
  np.testing.assert_allclose(scores, wanted, rtol=0.02, atol=0.02)


def test_widths_that_do_not_fit_are_refused(library: cuda.Library) -> None:
  world = pairs.make_world("layers", "float32", 8, 1, seed=4)
  cut = np.ascontiguousarray(world.hidden[:, :24])
  with pytest.raises(ValueError, match="is 24, wanted a multiple of 16"):
    world._replace(hidden=cut).scorer(library)


def test_paper_policy_is_no_single_walk(library: cuda.Library) -> None:
  case, vectors = cases.metric_case(2, is_l2=False, width=4)
  num_rows = case.world.graph.num_rows
  scorer = scorers.VectorScorer(
    library, vectors[:num_rows], vectors[num_rows:], is_l2=False
  )
  search = cases.make_search(library, case, cases.random_paper(case))
  with pytest.raises(ValueError, match="policy is paper, wanted best first"):
    scorers.walk(search, scorer)
