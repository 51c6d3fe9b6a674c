"""The search as a library: sources of graphs, arguments, answers, errors."""

import pathlib
import subprocess
import sys

import faiss
import hnswlib
import numpy as np
import pytest

import nann
from nann.index import storage
from nann.index.graph import HnswGraph, Index
from nann.retrieval.result import SearchResult
from tests import oracle, worlds
from tests.conftest import ROOT, run_python

NUM_CASES = 60
POINTS = np.random.default_rng(5).normal(size=(600, 8)).astype(np.float32)
QUERIES = np.random.default_rng(6).normal(size=(7, 8)).astype(np.float32)


def graph_of(world: worlds.World) -> nann.Graph:
  levels = [(level.values, level.row_splits) for level in world.graph.levels]
  points = world.graph.entry_points
  return nann.Graph.from_edges(*levels, entry_points=points)


def found_by(result: SearchResult) -> list[oracle.Found]:
  """Drops what pads an answer of a batch."""
  answers = []
  for rows, scores, counts in zip(
    result.rows, result.scores, result.num_scored, strict=True
  ):
    present = rows >= 0
    assert (scores[~present] == -np.inf).all()
    answers.append(
      oracle.Found(
        rows[present].tolist(), scores[present].tolist(), counts.tolist()
      )
    )
  return answers


def without_trailing_zeros(found: oracle.Found) -> oracle.Found:
  counts = list(found.num_scored)
  while counts and counts[-1] == 0:
    counts.pop()
  return found._replace(num_scored=counts)


def exact_rows(metric: str, k: int) -> list[set[int]]:
  if metric == "l2":
    scores = -((QUERIES[:, None] - POINTS) ** 2).sum(axis=-1)
  else:
    scores = QUERIES @ POINTS.T
  return [set(order[:k].tolist()) for order in np.argsort(-scores, axis=1)]


def faiss_index() -> faiss.IndexHNSWFlat:
  index = faiss.IndexHNSWFlat(8, 8)
  index.add(POINTS)
  return index


def hnswlib_index(labels: np.ndarray) -> hnswlib.Index:
  index = hnswlib.Index(space="l2", dim=8)
  index.init_index(max_elements=len(POINTS), M=8, random_seed=1)
  index.add_items(POINTS, labels, num_threads=1)
  return index


@pytest.mark.parametrize("seed", range(NUM_CASES))
@pytest.mark.parametrize("num_threads", [1, 3])
def test_best_first_is_the_definition(seed: int, num_threads: int) -> None:
  world = worlds.random_world(seed)
  rng = np.random.default_rng(seed)
  settings = {
    "ef": int(rng.integers(1, 20)),
    "width": int(rng.integers(1, 9)),
    "max_steps": int(rng.integers(1, 9)),
    "max_evaluations": int(rng.integers(1, 60)),
  }
  k = int(rng.integers(1, 15))
  allowed = rng.random(world.scores.shape) < 0.6
  bitmap = (
    allowed if seed % 2 else np.packbits(allowed, axis=1, bitorder="little")
  )
  result = graph_of(world).search(
    lambda rows, query: world.scores[query][rows],
    k,
    entries=world.expand,
    only_score=world.only_score,
    filter=bitmap,
    num_threads=num_threads,
    **settings,
  )
  for query, got in enumerate(found_by(result)):
    expected = oracle.best_first_search(
      world.lists(0),
      [row for row in world.expand[query].tolist() if row >= 0],
      [row for row in world.only_score[query].tolist() if row >= 0],
      lambda rows, query=query: world.scores[query][rows],
      settings["ef"] if settings["ef"] > k else k,
      settings["width"],
      settings["max_steps"],
      settings["max_evaluations"],
      k,
      lambda row, query=query: bool(allowed[query, row]),
    )
    assert without_trailing_zeros(got) == without_trailing_zeros(expected)


@pytest.mark.parametrize("seed", range(NUM_CASES))
def test_paper_is_the_definition(seed: int) -> None:
  world = worlds.random_world(seed)
  rng = np.random.default_rng(seed)
  num_levels = len(world.graph.levels)
  widths = [int(width) for width in rng.integers(1, 12, num_levels + 1)]
  hops = [*(int(hop) for hop in rng.integers(1, 4, num_levels)), 1]
  denied = set(rng.integers(0, world.graph.num_rows, 3).tolist())
  result = graph_of(world).search(
    lambda rows, query: world.scores[query][rows],
    5,
    "paper",
    num_queries=len(world.scores),
    widths=widths,
    hops=hops,
    exclude=sorted(denied),
  )
  for query, got in enumerate(found_by(result)):
    expected = oracle.paper_search(
      [world.lists(level) for level in range(num_levels)],
      world.graph.entry_points.tolist(),
      lambda rows, query=query: world.scores[query][rows],
      widths,
      hops,
      5,
      lambda row: row not in denied,
    )
    assert without_trailing_zeros(got) == without_trailing_zeros(expected)


@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("source", ["faiss", "hnswlib"])
def test_imported_graph_gives_the_exact_answers(
  source: str, metric: str
) -> None:
  if source == "faiss":
    graph = nann.Graph.from_faiss(faiss_index())
  else:
    graph = nann.Graph.from_hnswlib(hnswlib_index(np.arange(len(POINTS))))
  assert graph.num_levels > 1
  found = graph.search_vectors(
    QUERIES, 10, vectors=POINTS, metric=metric, ef=500, num_threads=2
  )
  for rows, exact in zip(found.rows, exact_rows(metric, 10), strict=True):
    assert set(rows.tolist()) == exact


def test_hnswlib_rows_are_labels() -> None:
  labels = np.random.default_rng(0).permutation(len(POINTS))
  graph = nann.Graph.from_hnswlib(hnswlib_index(labels))
  by_label = np.empty_like(POINTS)
  by_label[labels] = POINTS
  found = graph.search_vectors(by_label[:5], 1, vectors=by_label, ef=200)
  assert found.rows[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_single_query_has_no_batch_dimension() -> None:
  graph = nann.Graph.from_faiss(faiss_index())
  calls = []

  def score(rows: np.ndarray) -> np.ndarray:
    assert rows.dtype == np.int32
    calls.append(len(rows))
    return -((POINTS[rows] - QUERIES[0]) ** 2).sum(axis=1)

  found = graph.search(score, 10, entries=[3, 4, -1, 3], ef=300)
  assert found.rows.shape == found.scores.shape == (10,)
  assert set(found.rows.tolist()) == exact_rows("l2", 10)[0]
  assert calls == found.num_scored[: len(calls)].tolist()
  assert found.total_scored == sum(calls)
  single = graph.search_vectors(QUERIES[0], 10, vectors=POINTS, ef=300)
  assert single.rows.tolist() == found.rows.tolist()


def test_search_without_entries_comes_down_through_the_levels() -> None:
  graph = nann.Graph.from_faiss(faiss_index())
  calls = []

  def score(rows: np.ndarray) -> np.ndarray:
    calls.append(len(rows))
    return -((POINTS[rows] - QUERIES[0]) ** 2).sum(axis=1)

  found = graph.search(score, 10, ef=300)
  assert set(found.rows.tolist()) == exact_rows("l2", 10)[0]
  assert calls[0] == len(graph.entry_points)
  assert found.total_scored == sum(calls)


def test_lists_of_several_lengths_make_a_batch() -> None:
  graph = nann.Graph.from_edges([[1], [2], [0]])
  asked: dict[int, set[int]] = {0: set(), 1: set()}

  def score(rows: np.ndarray, query: int) -> list[float]:
    asked[query].update(rows.tolist())
    return [0.0] * len(rows)

  graph.search(score, 1, entries=[[0, 1], [2]], max_steps=1)
  assert asked == {0: {0, 1}, 1: {2}}


@pytest.mark.parametrize(
  "neighbors",
  [
    [[1, 2], [], [0]],
    [np.array([1, 2]), np.array([], int), np.array([0])],
    np.array([[1, 2], [-1, -1], [-1, 0]]),
    (np.array([1, 2, 0]), np.array([0, 2, 2, 3])),
  ],
)
def test_edges_in_any_form_make_the_same_graph(neighbors) -> None:
  graph = nann.Graph.from_edges(neighbors, entry_points=[0])
  found = graph.search(lambda rows: 10.0 * rows, 3)
  assert found.rows.tolist() == [2, 1, 0]
  assert found.num_scored.tolist()[:2] == [1, 2]


def test_saved_graph_is_loaded(tmp_path: pathlib.Path) -> None:
  graph = nann.Graph.from_faiss(faiss_index())
  graph.save(tmp_path / "index")
  loaded = nann.Graph.load(tmp_path / "index")
  assert loaded.num_levels == graph.num_levels
  first = graph.search_vectors(QUERIES, 5, vectors=POINTS)
  second = loaded.search_vectors(QUERIES, 5, vectors=POINTS)
  assert first.rows.tolist() == second.rows.tolist()


def test_loaded_graph_is_that_of_the_policy(tmp_path: pathlib.Path) -> None:
  flat, hnsw = (worlds.random_world(seed).graph for seed in (4, 4))
  flat = HnswGraph(flat.levels[:1], np.array([0], np.int32))
  storage.save(tmp_path / "index", Index(hnsw, flat), {}, {})
  loaded = nann.Graph.load(tmp_path / "index")
  assert loaded.entry_points.tolist() == [0]
  by_level = nann.Graph.load(tmp_path / "index", "paper")
  assert by_level.num_levels == len(hnsw.levels)
  with pytest.raises(ValueError, match="policy is 'flat', wanted best_first"):
    nann.Graph.load(tmp_path / "index", "flat")


class OwnError(Exception):
  """What a scorer of somebody else may raise."""


@pytest.mark.parametrize("num_threads", [1, 4])
def test_error_of_the_scorer_comes_through(num_threads: int) -> None:
  graph = nann.Graph.from_edges([[1], [0]])
  error = OwnError("the network is away")

  def score(rows: np.ndarray, query: int) -> np.ndarray:
    raise error

  with pytest.raises(OwnError) as caught:
    graph.search(score, 1, entries=[[0]] * 20, num_threads=num_threads)
  assert caught.value is error


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"k": 0}, "k is 0, wanted at least 1"),
    ({"ef": 0}, "ef is 0, wanted at least 1"),
    ({"num_threads": 0}, "num_threads is 0, wanted at least 1"),
    ({"policy": "worst"}, "policy is 'worst', wanted best_first or paper"),
    ({"widths": [1, 1]}, "widths is given, but policy best_first has no"),
    ({"policy": "paper", "ef": 3}, "ef is given, but policy paper has no ef"),
    ({"policy": "paper", "hops": [1, 1]}, "widths is missing, wanted one"),
    (
      {"policy": "paper", "hops": [1], "widths": [1]},
      "hops has 1 entries, wanted 2",
    ),
    ({"policy": "paper", "hops": [2, 1], "widths": [1]}, "widths has 1 ent"),
    ({"entries": [0, 3]}, r"entries\[0, 1\] = 3 is outside \[0, 3\)"),
    ({"exclude": [7]}, r"exclude\[0, 0\] = 7 is outside \[0, 3\)"),
    ({"entries": [0.5]}, "entries has dtype float64, wanted integers"),
    (
      {"entries": [[0]], "only_score": [[0], [1]]},
      "only_score is given for 2 queries, wanted 1",
    ),
    (
      {"filter": np.ones(4, bool)},
      r"filter has shape \(4,\) and dtype bool, wanted \[3\] bool or \[1\]",
    ),
    ({"filter": np.ones(1, np.int64)}, "dtype int64, wanted"),
    (
      {"score_fn": lambda rows: np.ones(5)},
      r"the scorer gave float64 of shape \(5,\), wanted one number for",
    ),
    (
      {"score_fn": lambda rows: "high"},
      "the scorer gave <U4 of shape",
    ),
    (
      {"score_fn": lambda rows: rows * np.nan},
      "the score of row 0 is not a number",
    ),
  ],
)
def test_wrong_arguments_are_refused(arguments: dict, message: str) -> None:
  graph = nann.Graph.from_edges([[1], [2], [0]], entry_points=[0])
  with pytest.raises(ValueError, match=message):
    graph.search(**{"score_fn": np.ones_like, "k": 1, **arguments})


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"vectors": POINTS[:5]}, "there are 5 vectors, wanted 600"),
    ({"queries": QUERIES[:, :4]}, "queries are 4 wide, wanted 8"),
    ({"metric": "cosine"}, "metric is 'cosine', wanted l2 or ip"),
    ({"queries": QUERIES[None]}, r"queries have shape \(1, 7, 8\)"),
  ],
)
def test_wrong_vectors_are_refused(arguments: dict, message: str) -> None:
  graph = nann.Graph.from_faiss(faiss_index())
  with pytest.raises(ValueError, match=message):
    graph.search_vectors(
      **{"queries": QUERIES, "k": 1, "vectors": POINTS, **arguments}
    )


@pytest.mark.parametrize(
  ("levels", "points", "message"),
  [
    ([], None, "there are 0 levels"),
    ([[[1], [2]]], None, "neighbor 1 is 2, outside"),
    ([[[0.5]]], None, "level 0 has dtype float64, wanted integers"),
    ([[[0]], [[0]]], None, "entry_points are missing, wanted the rows above"),
    ([[[0]]], [3], "entry point 0 is 3, outside"),
    ([(np.array([0]), np.array([0, 2]))], None, "row_splits goes from 0 to 2"),
    ([(np.array([0]),)], None, "is a tuple of 1"),
  ],
)
def test_wrong_edges_are_refused(levels, points, message: str) -> None:
  with pytest.raises(ValueError, match=message):
    nann.Graph.from_edges(*levels, entry_points=points)


def test_wrong_indices_are_refused() -> None:
  with pytest.raises(ValueError, match="index is IndexFlatL2, wanted a faiss"):
    nann.Graph.from_faiss(faiss.IndexFlatL2(8))
  with pytest.raises(ValueError, match="index holds no vector"):
    nann.Graph.from_faiss(faiss.IndexHNSWFlat(8, 8))
  with pytest.raises(ValueError, match="labels 7 to 606, wanted 0 to 599"):
    nann.Graph.from_hnswlib(hnswlib_index(np.arange(len(POINTS)) + 7))


def test_library_loads_no_tensorflow() -> None:
  program = """
import sys, nann
assert 'numpy' not in sys.modules and 'nann._core' not in sys.modules
graph = nann.Graph.from_edges([[1], [0]])
graph.search(lambda rows: rows, 1)
assert not {'tensorflow', 'faiss', 'hnswlib'} & set(sys.modules)
"""
  done = run_python("-c", program)
  assert done.returncode == 0, done.stderr


def test_import_is_instant() -> None:
  done = run_python("-X", "importtime", "-c", "import nann")
  microseconds = int(done.stderr.splitlines()[-1].split("|")[1])
  assert microseconds < 50_000


def test_unknown_attribute_is_named() -> None:
  with pytest.raises(AttributeError, match="nann' has no attribute 'Grahp'"):
    _ = nann.Grahp


def test_types_are_checked(tmp_path: pathlib.Path) -> None:
  program = tmp_path / "use.py"
  program.write_text(
    "import nann\n"
    "graph = nann.Graph.from_edges([[1], [0]])\n"
    "rows: str = graph.search(len, k='ten').rows\n"
  )
  done = subprocess.run(
    [sys.executable, "-m", "mypy", "--no-incremental", str(program)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert "[arg-type]" in done.stdout
  assert "ndarray" in done.stdout
