import numpy as np
import pytest

from nann.index import build, flat, nearest
from nann.index.graph import HnswGraph, Level


def clusters(number: int, seed: int, count: int = 5) -> np.ndarray:
  """Points in groups that lie far from each other."""
  rng = np.random.default_rng(seed)
  centers = 1000 * rng.normal(size=(count, 6))
  points = centers[rng.integers(0, count, number)]
  return (points + rng.normal(size=points.shape)).astype(np.float32)


def no_links(number: int) -> Level:
  return Level(np.zeros(0, np.int32), np.zeros(number + 1, np.int64))


def table(points: np.ndarray, k: int) -> np.ndarray:
  distance = np.linalg.norm(points[:, None] - points, axis=-1)
  np.fill_diagonal(distance, np.inf)
  return np.argsort(distance, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("seed", range(5))
def test_near_rows_are_linked_both_ways(seed: int) -> None:
  points = clusters(80, seed)
  neighbors = table(points, 4)
  made = flat.flat_graph(
    neighbors, no_links(80), np.array([0], np.int32), max_reversed=80
  )
  level = made.graph.levels[0]
  for row in range(80):
    linked = level.neighbors(row).tolist()
    assert set(neighbors[row]) <= set(linked)
    assert len(linked) == len(set(linked))
    assert row not in linked
    for neighbor in neighbors[row]:
      assert row in level.neighbors(neighbor)


def test_a_hub_is_linked_back_to_its_nearest_only() -> None:
  # Row 0 is the one nearest row of all others, ever farther ones.
  neighbors = np.zeros((10, 1), np.int64)
  neighbors[0] = 1
  made = flat.flat_graph(
    neighbors, no_links(10), np.arange(10, dtype=np.int32), max_reversed=3
  )
  assert len(made.graph.levels[0].neighbors(0)) <= 4


def test_links_of_the_hnsw_graph_are_in() -> None:
  neighbors = np.array([[1], [0], [1]])
  hnsw = Level(np.array([2, 0], np.int32), np.array([0, 1, 1, 2], np.int64))
  made = flat.flat_graph(neighbors, hnsw, np.array([0], np.int32), 5)
  assert 2 in made.graph.levels[0].neighbors(0)
  assert 0 in made.graph.levels[0].neighbors(2)


@pytest.mark.parametrize("seed", range(10))
def test_islands_are_joined_and_counted(seed: int) -> None:
  points = clusters(120, seed)
  neighbors = table(points, 3)
  medoids = np.array([7], np.int32)
  made = flat.flat_graph(neighbors, no_links(120), medoids, max_reversed=2)
  assert made.graph.reached().all()
  # Groups lie far apart: at least four of five had no way in.
  assert made.num_islands >= 4


def test_missing_neighbors_are_left_out() -> None:
  neighbors = np.array([[1, -1], [0, -1], [-1, -1]])
  made = flat.flat_graph(neighbors, no_links(3), np.array([0], np.int32), 5)
  assert made.graph.levels[0].neighbors(0).tolist() == [1, 2]
  assert made.graph.reached().all()


@pytest.mark.parametrize("number", [1, 2, 3, 9, 40, 500])
def test_graph_of_any_size_reaches_every_row(number: int) -> None:
  made = build.build_flat(clusters(number, 0), 8, 16, 8, 6, 1, 0)
  made.graph.check()
  assert made.graph.reached().all()
  assert made.graph.num_rows == number


def test_one_thread_and_a_seed_make_it_reproducible() -> None:
  points = clusters(300, 1)
  a, b = (build.build_flat(points, 8, 16, 8, 6, 1, 3).graph for _ in range(2))
  np.testing.assert_array_equal(a.levels[0].values, b.levels[0].values)
  np.testing.assert_array_equal(a.entry_points, b.entry_points)


def test_progress_counts_every_row_twice() -> None:
  seen: list[int] = []
  build.build_flat(clusters(300, 1), 8, 16, 8, 6, 1, 3, seen.append)
  assert sum(seen) == 600


@pytest.mark.parametrize("number", [2, 5, 60])
def test_neighbor_table_is_exact_without_the_row_itself(number: int) -> None:
  points = clusters(number, 2)
  points[1] = points[0]  # Equal rows are each other's nearest.
  index = build._faiss_index(points, 4, 40, 1, 0, lambda rows: None)
  got = nearest.neighbor_table(points, 8, index, 1)
  assert got.shape == (number, min(8, number - 1))
  assert got[0, 0] == 1
  assert got[1, 0] == 0
  distance = np.linalg.norm(points[:, None] - points, axis=-1)
  np.fill_diagonal(distance, np.inf)
  for row in range(number):
    assert row not in got[row]
    expected = np.sort(distance[row])[: got.shape[1]]
    np.testing.assert_allclose(
      np.sort(distance[row][got[row]]), expected, rtol=1e-3, atol=0.1
    )


def test_large_table_by_the_index_is_nearly_exact(
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  points = clusters(800, 3)
  index = build._faiss_index(points, 8, 40, 1, 0, lambda rows: None)
  exact = nearest.neighbor_table(points, 8, index, 1)
  monkeypatch.setattr(nearest, "_EXACT_ITEMS", 10)
  found = nearest.neighbor_table(points, 8, index, 1)
  assert (found == np.arange(800)[:, None]).sum() == 0
  same = [len(np.intersect1d(a, b)) for a, b in zip(exact, found, strict=True)]
  assert np.mean(same) > 7.5


def test_medoids_are_spread_over_the_clusters() -> None:
  points = clusters(400, 4)
  rows = nearest.medoids(points, 20, seed=0)
  assert rows.dtype == np.int32
  assert (np.diff(rows) > 0).all()
  distance = np.linalg.norm(points[:, None] - points[rows], axis=-1)
  # Every point has a medoid of its own group.
  assert distance.min(axis=1).max() < 50
  few = nearest.medoids(points[:3], 20, seed=0)
  assert few.tolist() == [0, 1, 2]


def test_flat_graph_is_one_level() -> None:
  made = build.build_flat(clusters(30, 5), 4, 8, 4, 3, 1, 0)
  assert isinstance(made.graph, HnswGraph)
  assert made.graph.start_level == 1


@pytest.mark.parametrize("seed", range(10))
def test_rows_are_linked_back_to_the_nearest_of_those_they_are_near_to(
  seed: int,
) -> None:
  rng = np.random.default_rng(seed)
  neighbors = np.stack([rng.permutation(40)[:6] for _ in range(40)])
  neighbors[rng.random(neighbors.shape) < 0.2] = -1
  count = int(rng.integers(1, 8))
  back = flat._reversed(neighbors, count)
  for row in range(40):
    others, ranks = np.nonzero(neighbors == row)
    order = np.lexsort((others, ranks))[:count]
    wanted = dict(zip(others[order], ranks[order] + 1, strict=True))
    own = slice(back.indptr[row], back.indptr[row + 1])
    got = dict(zip(back.indices[own], back.data[own], strict=True))
    assert got == wanted
