"""The search on a GPU against the plain definition, to the last evaluation."""

import ctypes

import numpy as np
import pytest

from benchmark import cuda_library as cuda
from tests import filters, search_cases, worlds
from tests.ops.cuda import cases

CHUNK = 40


@pytest.mark.parametrize("options", cases.OPTIONS)
@pytest.mark.parametrize("is_filtered", [False, True])
@pytest.mark.parametrize("policy", ["paper", "best_first"])
@pytest.mark.parametrize("first", [0, 1000])
def test_search_is_the_definition(
  library: cuda.Library,
  first: int,
  policy: str,
  is_filtered: bool,
  options: str,
) -> None:
  draw = {"paper": cases.random_paper, "best_first": cases.random_best_first}
  for seed in range(first, first + CHUNK):
    cases.check_host_scores(
      library, seed, is_filtered, draw[policy], cases.OPTIONS[options]
    )


def test_order_of_threads_does_not_show(emulator: cuda.Library) -> None:
  case = cases.make_case(11, is_filtered=True)
  for policy in [cases.random_paper(case), cases.random_best_first(case)]:
    wanted = cases.expected(case, policy)
    options = cuda.Options(has_room_for_ties=1, num_threads=96)
    made = cases.make_search(emulator, case, policy, options)
    for seed in range(30):
      emulator.loaded.NannEmulatorSeed(ctypes.c_uint64(seed))
      found = cuda.search_with(made, lambda rows, user: case.scores[user][rows])
      cases.check(found, wanted, f"order {seed}")


@pytest.mark.parametrize("num_users", [0, 1, 2, 300, 1024])
def test_every_user_of_a_batch_is_answered(
  library: cuda.Library, num_users: int
) -> None:
  case = cases.make_case(7, is_filtered=True, num_users=num_users)
  for policy in [cases.random_paper(case), cases.random_best_first(case)]:
    options = cuda.Options(has_room_for_ties=1, num_threads=32)
    search = cases.make_search(library, case, policy, options)
    found = cuda.search_with(search, lambda rows, user: case.scores[user][rows])
    cases.check(found, cases.expected(case, policy), f"{num_users} users")


def complete_case(num_rows: int, scores: np.ndarray) -> search_cases.Case:
  """A graph in which all rows know each other, entered at row 0."""
  graph = worlds.complete_graph(num_rows)
  entry = np.zeros((1, 1), np.int32)
  none = np.zeros((1, 0), np.int32)
  world = worlds.World(graph, scores[None], entry, none)
  rng = np.random.default_rng(0)
  return search_cases.Case(world, scores[None], filters.Filter(), 3, rng)


def search(
  library: cuda.Library,
  case: search_cases.Case,
  policy: cuda.Paper | cuda.BestFirst,
  options: cuda.Options | None = None,
) -> cuda.Found:
  made = cases.make_search(library, case, policy, options)
  return cuda.search_with(made, lambda rows, user: case.scores[user][rows])


EVERYTHING = cuda.BestFirst(1000, 3, 1000, 1000)


@pytest.mark.parametrize("policy", [EVERYTHING, cuda.Paper([4, 4], [2, 1])])
@pytest.mark.parametrize("bad", [0, 2])
def test_score_that_is_no_number_ends_the_query(
  library: cuda.Library, bad: int, policy: cuda.Paper | cuda.BestFirst
) -> None:
  scores = np.arange(4, dtype=np.float32)
  scores[bad] = np.nan
  found = search(library, complete_case(4, scores), policy)
  assert found.faults.tolist() == [[cuda.NOT_A_NUMBER, bad]]


def test_beam_wider_than_shared_memory_is_sorted(library: cuda.Library) -> None:
  num_rows = 3000
  rng = np.random.default_rng(3)
  scores = rng.permutation(num_rows).astype(np.float32)
  rows = np.arange(num_rows, dtype=np.int32)
  # Row 0 knows all, and nobody knows anybody else.
  splits = np.minimum(np.arange(num_rows + 1) * num_rows, num_rows)
  graph = worlds.HnswGraph((worlds.Level(rows, splits),), rows[:1])
  case = complete_case(1, scores[:1])
  world = worlds.World(
    graph, scores[None], case.world.expand, case.world.only_score
  )
  case = case._replace(world=world, scores=scores[None], k=num_rows)
  found = search(library, case, cuda.BestFirst(1, 1, 2, num_rows))
  np.testing.assert_array_equal(found.rows[0], np.argsort(-scores))


def test_wide_beams_take_no_room(library: cuda.Library) -> None:
  most = 2**31 - 1
  case = complete_case(5, np.arange(5, dtype=np.float32))
  for policy in [
    cuda.BestFirst(10**12, 10**12, 10**12, 10**12),
    cuda.Paper([most, most], [3, 1]),
  ]:
    found = search(library, case, policy)
    assert found.rows.tolist() == [[4, 3, 2]]
    assert found.num_scored.sum() == 5


def test_ties_beyond_the_room_are_told(library: cuda.Library) -> None:
  # All rows tie: all that were met enter the beam, which holds one.
  case = complete_case(40, np.zeros(40, np.float32))
  policy = cuda.Paper([1, 1], [3, 1])
  told = search(library, case, policy)
  assert told.faults[0, 0] == cuda.NO_ROOM
  options = cuda.Options(has_room_for_ties=1)
  found = search(library, case, policy, options)
  cases.check(found, cases.expected(case, policy), "room for ties")


def test_ties_do_not_fill_a_table(library: cuda.Library) -> None:
  # Row 0 has 60 neighbors, each of these 60 of its own, and no more. All tie:
  # the beam of level 1 holds one row, the frontier after it 60.
  num_rows, degree = 2_000_000, 60
  number = degree * (degree + 1)
  splits = np.minimum(np.arange(num_rows + 1) * degree, number)
  level = worlds.Level(np.arange(1, number + 1, dtype=np.int32), splits)
  graph = worlds.HnswGraph((level, level), np.zeros(1, np.int32))
  case = complete_case(1, np.zeros(1, np.float32))
  entries = case.world.expand
  world = worlds.World(graph, case.scores, entries, entries)
  case = case._replace(world=world)
  policy = cuda.Paper([64, 1, 1], [1, 2, 1])
  options = cuda.Options(max_bitmap_bytes=1)
  made = cases.make_search(library, case, policy, options)
  # A table, not a bit for each row.
  assert made.visited_bytes < num_rows / 8
  found = cuda.search_with(made, lambda rows, _: np.zeros(len(rows)))
  assert found.faults[0, 0] == cuda.NO_ROOM
  options.has_room_for_ties = 1
  made = cases.make_search(library, case, policy, options)
  found = cuda.search_with(made, lambda rows, _: np.zeros(len(rows)))
  assert found.num_scored.tolist() == [[1, 60, 3600, 60]]


def test_room_is_known_from_widths_and_degrees(library: cuda.Library) -> None:
  case = complete_case(40, np.arange(40, dtype=np.float32))
  policy = cuda.BestFirst(ef=4, width=2, max_steps=9, max_evaluations=30)
  made = cases.make_search(library, case, policy)
  # Two rows are expanded, each has 40 neighbors; 30 at most are scored.
  assert made.step().capacity == 30
  assert made.max_steps == 9
  # One bit for each of 40 rows, in pieces of 16 bytes.
  assert made.visited_bytes == 16


def test_bitmaps_beyond_the_limit_become_tables(library: cuda.Library) -> None:
  num_rows = 100_000
  splits = np.minimum(np.arange(num_rows + 1), 1)
  graph = worlds.HnswGraph(
    (worlds.Level(np.ones(1, np.int32), splits),), np.zeros(1, np.int32)
  )
  case = complete_case(1, np.zeros(1, np.float32))
  world = worlds.World(
    graph, case.scores, case.world.expand, case.world.only_score
  )
  case = case._replace(world=world, scores=np.zeros((1, num_rows), np.float32))
  policy = cuda.BestFirst(2, 1, 5, 20)
  bytes_of = {}
  for limit in [0, 1000]:
    options = cuda.Options(max_bitmap_bytes=limit)
    made = cases.make_search(library, case, policy, options)
    bytes_of[limit] = made.visited_bytes
    found = cuda.search_with(made, lambda rows, _: rows.astype(np.float32))
    assert found.rows.tolist() == [[1, 0, -1]]
  # In pieces of 16 bytes.
  assert bytes_of[0] == 12_512
  assert bytes_of[1000] <= 256


def test_searches_in_two_streams_do_not_mix(library: cuda.Library) -> None:
  own = [np.arange(40, dtype=np.float32), -np.arange(40, dtype=np.float32)]
  made = [
    cases.make_search(library, complete_case(40, scores), EVERYTHING)
    for scores in own
  ]
  streams = [library.loaded.NannCudaStreamNew() for _ in made]
  given = [cuda.to_device(library, np.zeros((1, 40), np.float32)) for _ in made]
  for each, stream in zip(made, streams, strict=True):
    each.start(stream)
  while any(
    each.progress(stream).num_active
    for each, stream in zip(made, streams, strict=True)
  ):
    for each, scores, values, stream in zip(
      made, own, given, streams, strict=True
    ):
      rows = np.empty((1, 40), np.int32)
      cuda.read(library, each.step().rows, rows)
      values.set(scores[np.clip(rows, 0, 39)])
      each.absorb(values.pointer, 40, stream)
  for each, stream in zip(made, streams, strict=True):
    each.finish(stream)
    library("NannCudaSynchronize", stream)
  assert made[0].answers().rows.tolist() == [[39, 38, 37]]
  assert made[1].answers().rows.tolist() == [[0, 1, 2]]
  for stream in streams:
    if stream is not None:
      library("NannCudaStreamDelete", stream)


@pytest.mark.parametrize(
  ("policy", "options", "message"),
  [
    (cuda.BestFirst(0, 1, 1, 1), None, "ef is 0, wanted at least 1"),
    (cuda.Paper([1], [1]), None, "has 1 entries, wanted 2"),
    (cuda.Paper([1, 1], [1, 2]), None, "hops ends with 2, wanted 1"),
    (EVERYTHING, cuda.Options(num_threads=33), "num_threads is 33, wanted a"),
    (EVERYTHING, cuda.Options(num_threads=2048), "up to 1024"),
  ],
)
def test_wrong_settings_are_refused(
  library: cuda.Library,
  policy: cuda.Paper | cuda.BestFirst,
  options: cuda.Options | None,
  message: str,
) -> None:
  case = complete_case(3, np.zeros(3, np.float32))
  with pytest.raises(ValueError, match=message):
    cases.make_search(library, case, policy, options)


def test_graph_of_too_many_levels_is_refused(library: cuda.Library) -> None:
  level = worlds.complete_graph(2).levels[0]
  graph = cuda.Graph(
    library, [(level.values, level.row_splits)] * 9, np.zeros(1, np.int32)
  )
  none = np.zeros((1, 0), np.int32)
  with pytest.raises(ValueError, match="num_levels is 9, wanted 1 to 8"):
    cuda.Search(graph, EVERYTHING, cuda.Queries(1, none, none))
