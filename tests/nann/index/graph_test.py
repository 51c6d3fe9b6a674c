import pathlib

import faiss
import hnswlib
import numpy as np
import pytest

from nann import files, paths
from nann.index import build, storage
from nann.index.graph import HnswGraph, Index, Level


def vectors(number: int, width: int = 8, seed: int = 0) -> np.ndarray:
  rng = np.random.default_rng(seed)
  return rng.normal(size=(number, width)).astype(np.float32)


def level(*lists: list[int]) -> Level:
  splits = np.concatenate([[0], np.cumsum([len(x) for x in lists])])
  values = np.array([v for x in lists for v in x], dtype=np.int32)
  return Level(values, splits.astype(np.int64))


def slow_faiss_lists(index: faiss.IndexHNSWFlat, number: int) -> list:
  """Neighbors of every row of a level, one row after the other."""
  hnsw, lists = index.hnsw, []
  levels, offsets, neighbors = (
    faiss.vector_to_array(array).tolist()
    for array in (hnsw.levels, hnsw.offsets, hnsw.neighbors)
  )
  for row in range(int(index.ntotal)):
    first = offsets[row] + hnsw.cum_nb_neighbors(number)
    last = offsets[row] + hnsw.cum_nb_neighbors(number + 1)
    found = neighbors[first:last] if levels[row] > number else []
    lists.append([x for x in found if x >= 0])
  return lists


@pytest.mark.parametrize("number", [1, 2, 30, 700])
def test_faiss_graph_is_taken_out_as_it_is(number: int) -> None:
  index = faiss.IndexHNSWFlat(8, 4)
  index.add(vectors(number))
  graph = build.graph_from_faiss(index, 2)
  graph.check()
  for place, got in enumerate(graph.levels):
    expected = slow_faiss_lists(index, place)
    assert [got.neighbors(r).tolist() for r in range(number)] == expected


def test_hnswlib_graph_is_taken_out_as_it_is(tmp_path: pathlib.Path) -> None:
  """Reads the lists once more out of the file that hnswlib saves."""
  number, links = 300, 4
  index = hnswlib.Index(space="l2", dim=8)
  index.init_index(number, M=links, ef_construction=40, random_seed=1)
  # Labels are given in another order than elements.
  labels = np.random.default_rng(0).permutation(number)
  index.add_items(vectors(number), labels, num_threads=1)
  graph = build.graph_from_hnswlib(index, 2)
  graph.check()
  index.save_index(str(tmp_path / "index"))
  raw = (tmp_path / "index").read_bytes()
  header = np.frombuffer(raw[:96], np.uint64)
  size, offset = int(header[3]), 96
  for element in range(number):
    record = raw[offset + element * size : offset + (element + 1) * size]
    count = int(np.frombuffer(record[:2], np.uint16)[0])
    found = np.frombuffer(record[4 : 4 + 4 * count], np.uint32)
    expected = labels[found].tolist()
    got = graph.levels[0].neighbors(int(labels[element])).tolist()
    assert got == expected


@pytest.mark.parametrize("builder", ["faiss", "hnswlib"])
class TestBuilders:
  def make(self, builder: str, number: int, **changed: object) -> HnswGraph:
    arguments: dict = {
      "num_neighbors": 8,
      "ef_construction": 40,
      "start_level": 2,
      "num_threads": 1,
      "seed": 0,
    }
    return build.build_hnsw(
      vectors(number), builder, **{**arguments, **changed}
    )

  @pytest.mark.parametrize("number", [1, 2, 5, 40])
  def test_small_catalogue_starts_lower_and_never_empty(
    self, builder: str, number: int
  ) -> None:
    graph = self.make(builder, number)
    graph.check()
    assert graph.num_rows == number
    assert len(graph.entry_points) >= 1

  def test_neighbors_are_near(self, builder: str) -> None:
    graph, points = self.make(builder, 500), vectors(500)
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    nearest = np.argsort(distance, axis=1)[:, 1]
    linked = [
      nearest[row] in graph.levels[0].neighbors(row) for row in range(500)
    ]
    assert np.mean(linked) > 0.9

  def test_one_thread_and_a_seed_make_it_reproducible(
    self, builder: str
  ) -> None:
    a, b = self.make(builder, 400), self.make(builder, 400)
    other = self.make(builder, 400, seed=9)
    for x, y in zip(a.levels, b.levels, strict=True):
      np.testing.assert_array_equal(x.values, y.values)
    assert not np.array_equal(a.entry_points, other.entry_points)

  def test_all_rows_of_the_start_level_are_entries(self, builder: str) -> None:
    graph = self.make(builder, 2000, start_level=1)
    assert graph.start_level == 1
    assert 100 < len(graph.entry_points) < 500

  def test_progress_counts_every_row(self, builder: str) -> None:
    seen: list[int] = []
    self.make(builder, 300, progress=seen.append)
    assert sum(seen) == 300


@pytest.mark.parametrize(
  ("embeddings", "message"),
  [
    (np.zeros((0, 4)), "have shape"),
    (np.zeros(4), "have shape"),
    (np.array([[1.0, 2.0], [np.nan, 0.0]]), "row 1 is not finite"),
  ],
)
def test_bad_embeddings_are_refused(
  embeddings: np.ndarray, message: str
) -> None:
  with pytest.raises(ValueError, match=message):
    build.build_hnsw(embeddings, "faiss", 4, 40, 2, 1, 0)


def test_unreachable_rows_are_found() -> None:
  # 0 -> 1 -> 2; 3 and 4 know each other only.
  graph = HnswGraph((level([1], [2], [], [4], [3]),), np.array([0], np.int32))
  assert graph.reached().tolist() == [True, True, True, False, False]


def test_neighbors_of_several_rows_follow_each_other() -> None:
  lists = level([1, 2], [], [0], [3, 1])
  assert lists.neighbors_of(np.array([3, 1, 0])).tolist() == [3, 1, 1, 2]
  assert lists.neighbors_of(np.array([], dtype=int)).tolist() == []


HNSW = HnswGraph((level([1], [0, 2], [1]),), np.array([0], np.int32))
FLAT = HnswGraph((level([2], [0, 2], [0, 1]),), np.array([1], np.int32))
GOOD = Index(HNSW, FLAT)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
  storage.save(tmp_path / "index", GOOD, {"item_embs.npy": "abc"}, {"m": 1})
  return tmp_path / "index"


def test_saved_graph_comes_back(folder: pathlib.Path) -> None:
  index, content = storage.load(folder)
  assert index.flat is not None
  for got, expected in ((index.hnsw, HNSW), (index.flat, FLAT)):
    np.testing.assert_array_equal(
      got.levels[0].values, expected.levels[0].values
    )
    np.testing.assert_array_equal(got.entry_points, expected.entry_points)
  assert content["parents"] == {"item_embs.npy": "abc"}


def test_saving_replaces_a_graph_with_more_levels(
  folder: pathlib.Path,
) -> None:
  two = HnswGraph((HNSW.levels[0], HNSW.levels[0]), HNSW.entry_points)
  storage.save(folder, Index(two, FLAT), {}, {})
  storage.save(folder, GOOD, {}, {})
  assert storage.load(folder)[0].hnsw.start_level == 1


@pytest.mark.parametrize(
  ("name", "array", "message"),
  [
    (
      paths.neighbor_values(0),
      [1, 0, 2, 3],
      r"neighbor 3 is 3, outside \[0, 3",
    ),
    (paths.neighbor_values(0), [1, -5, 2, 1], "neighbor 1 is -5"),
    (paths.neighbor_values(0), [1, 0, 2], "goes from 0 to 4, wanted 0 to 3"),
    (paths.neighbor_row_splits(0), [0, 3, 1, 4], "decreases after row 1"),
    (paths.neighbor_row_splits(0), [1, 1, 3, 4], "goes from 1 to 4"),
    (paths.neighbor_row_splits(0), [], "row_splits"),
    (paths.neighbor_values(0), [0.5, 1.0, 2.0, 0.0], "dtype float64"),
    (paths.ENTRY_POINTS, [7], "an entry point is outside"),
    (paths.ENTRY_POINTS, [], "no entry point"),
    (paths.MEDOIDS, [3], "an entry point is outside"),
    (paths.GRAPH_VALUES, [2, 0, 2, 0, 9], r"neighbor 4 is 9, outside \[0, 3"),
    (paths.GRAPH_ROW_SPLITS, [0, 2, 4, 6, 5], "decreases after row 3"),
    (paths.ENTRY_POINTS, [1, 0, 1], "an entry point is there twice"),
  ],
)
def test_graph_that_cannot_be_walked_is_refused(
  folder: pathlib.Path, name: str, array: list, message: str
) -> None:
  (folder / paths.MANIFEST).unlink()
  dtype = float if any(isinstance(x, float) for x in array) else np.int64
  files.save_array(folder / name, np.array(array, dtype=dtype))
  with pytest.raises(ValueError, match=message):
    storage.load(folder)


def test_changed_file_is_refused(folder: pathlib.Path) -> None:
  files.save_array(folder / paths.ENTRY_POINTS, np.array([1], np.int32))
  with pytest.raises(ValueError, match="checksum differs.*build_index again"):
    storage.load(folder)


def test_missing_index_names_the_job(tmp_path: pathlib.Path) -> None:
  with pytest.raises(FileNotFoundError, match="run --job-type build_index"):
    storage.load(tmp_path)


def test_originals_index_is_read(original: pathlib.Path) -> None:
  index, content = storage.load(original / "index")
  assert content == {}
  assert index.flat is None
  graph = index.hnsw
  assert graph.start_level == 2
  assert graph.num_rows == 5000
  assert len(graph.entry_points) == 4
