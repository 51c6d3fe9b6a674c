"""Which library builds the graphs fastest, at equal quality of the search.

The graph of policy paper is an HNSW graph, of faiss or of hnswlib. That of
best_first is made of tables of nearest items, two of them where there are score
profiles, and of the links of a slim HNSW graph. Ours come from a slim HNSW of
faiss that every item is looked up in; hnswlib's do the same. usearch and
faiss's NN-descent give tables only: their graphs are without the links, or with
those of faiss's slim HNSW.

Quality is what the search of a trained model scores for a coverage on such a
graph (search_policies.py). Graphs and times are kept in --folder, so that
evaluations can be counted later, on a machine that does other work.
"""

import argparse
import dataclasses
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import faiss
import harness
import hnswlib
import numpy as np
import search_policies
import trained_run

from nann import config, console, files, paths
from nann.index import build, flat, nearest
from nann.index.graph import HnswGraph, Index, Level
from nann.jobs import measuring
from nann.retrieval import entries
from nann.retrieval.retriever import Retriever

_THREADS = 2
_SETTINGS = config.IndexSettings()
_NUM_FREQUENT = 128
_SAMPLE = 1000


class Table(NamedTuple):
  """Nearest items of every item.

  Attributes:
    rows: [I, k] int64, -1 where there are fewer.
    links: Level 0 of the HNSW graph that they were looked up in, or none.
  """

  rows: np.ndarray
  links: Level


# Finds k nearest others of each of the vectors [I, D].
Finder = Callable[[np.ndarray, int], Table]


def main() -> None:
  """Runs the benchmark."""
  parser = harness.parser(__doc__ or "")
  trained_run.add_arguments(parser)
  parser.add_argument("--folder", required=True, help="where graphs are kept")
  parser.add_argument(
    "--build-only", action="store_true", help="count no evaluations"
  )
  parser.add_argument("--k", type=int, default=200)
  parser.add_argument("--num-users", type=int, default=100)
  arguments = parser.parse_args()
  run = trained_run.load(arguments)
  folder = pathlib.Path(arguments.folder)
  folder.mkdir(parents=True, exist_ok=True)
  figures: dict[str, Any] = {"num_items": run.num_items, "threads": _THREADS}
  for name, builder in _BUILDERS.items():
    if not (folder / f"{name}.npz").exists():
      begin = time.perf_counter()
      graph = builder(run)
      _save(folder, name, graph, time.perf_counter() - begin)
    _, figures[f"{name}_s"] = _load(folder, name)
    console.say(f"{name}: {figures[f'{name}_s']:.1f} s")
  if not arguments.build_only:
    figures |= _evaluations(run, folder, arguments)
  harness.report("index builders", figures, arguments.json)


def _save(
  folder: pathlib.Path, name: str, graph: HnswGraph, seconds: float
) -> None:
  arrays: dict[str, Any] = {
    "entry_points": graph.entry_points,
    "seconds": seconds,
  }
  for number, level in enumerate(graph.levels):
    arrays[f"values_{number}"] = level.values
    arrays[f"row_splits_{number}"] = level.row_splits
  with files.written_whole(folder / f"{name}.npz") as temporary:
    np.savez(temporary, **arrays)


def _load(folder: pathlib.Path, name: str) -> tuple[HnswGraph, float]:
  """Returns a graph, and the seconds that it took."""
  with np.load(folder / f"{name}.npz") as content:
    levels = tuple(
      Level(content[f"values_{number}"], content[f"row_splits_{number}"])
      for number in range(sum(x.startswith("values") for x in content.files))
    )
    return HnswGraph(levels, content["entry_points"]), float(content["seconds"])


def _evaluations(
  run: trained_run.TrainedRun,
  folder: pathlib.Path,
  arguments: argparse.Namespace,
) -> dict[str, Any]:
  """Returns what the searches score for a coverage on each graph."""
  given = run.retriever
  users = search_policies.test_users(run, arguments.num_users)
  exact = measuring.exact_rows(given, users.histories, arguments.k)
  length = users.histories.shape[1]
  answers = measuring.answers_to_training_users(
    given, run.data, arguments.num_users, length, arguments.k, seed=0
  )
  frequent = entries.frequent_answers(answers, _NUM_FREQUENT)
  assert given.index is not None
  figures: dict[str, Any] = {}
  for name in _BUILDERS:
    graph, _ = _load(folder, name)
    policy = "paper" if name.startswith("paper") else "best_first"
    index = dataclasses.replace(
      given.index, **{"hnsw" if policy == "paper" else "flat": graph}
    )
    retriever = _with_index(given, index).with_entries(frequent)
    ladders = search_policies.climb(policy, retriever, users.histories, exact)
    figures[f"{name}_links"] = len(graph.levels[0].values) / graph.num_rows
    for target in (0.95, 0.975):
      figures[f"{name}_at_{100 * target:g}"] = search_policies.evaluations_at(
        ladders, target
      )
  return figures


def _with_index(given: Retriever, index: Index) -> Retriever:
  return Retriever(
    given.scorer, given.items, index, given.category_table, given.state_dtype
  )


def _paper(library: str) -> Callable[[trained_run.TrainedRun], HnswGraph]:
  return lambda run: build.build_hnsw(
    run.retriever.items.embeddings,
    library,
    _SETTINGS.hnsw_num_neighbors,
    _SETTINGS.hnsw_ef_construction,
    _SETTINGS.hnsw_start_level,
    _THREADS,
    seed=0,
  )


def _best_first(
  find: Finder, links: Finder | None = None
) -> Callable[[trained_run.TrainedRun], HnswGraph]:
  """Returns what makes the graph of two tables, as `build.build_flat` does.

  Args:
    find: Makes the tables.
    links: Makes the links, if not what makes the second table.
  """

  def make(run: trained_run.TrainedRun) -> HnswGraph:
    embeddings = np.ascontiguousarray(run.retriever.items.embeddings)
    profiles = np.load(run.output_root / "embeddings" / paths.ITEM_PROFILES)
    k = _SETTINGS.flat_neighbors
    near = max(1, k // build.EMBEDDING_SHARE)
    first = find(embeddings, near)
    both = build.embeddings_and_profiles(embeddings, profiles)
    second = find(both, k - near)
    joining = second.links if links is None else links(both, 0).links
    return flat.flat_graph(
      flat.united(first.rows, second.rows),
      joining,
      nearest.with_threads(
        _THREADS,
        lambda: nearest.medoids(embeddings, _SETTINGS.num_medoids, 0),
      ),
      _SETTINGS.flat_reversed,
    ).graph

  return make


def _faiss(vectors: np.ndarray, k: int) -> Table:
  index = build.slim_index(vectors, _SETTINGS.flat_links, _THREADS, 0)
  rows = nearest.neighbor_table(vectors, k, index, _THREADS)
  return Table(rows, build.graph_from_faiss(index, 1).levels[0])


def _hnswlib(vectors: np.ndarray, k: int) -> Table:
  index = hnswlib.Index("l2", vectors.shape[1])
  index.init_index(
    len(vectors),
    M=_SETTINGS.flat_links,
    ef_construction=build.SLIM_EF_CONSTRUCTION,
  )
  index.add_items(vectors, num_threads=_THREADS)
  index.set_ef(max(32, 4 * k))
  found, _ = index.knn_query(vectors, k + 1, num_threads=_THREADS)
  return Table(
    nearest.without_own(found.astype(np.int64), 0),
    build.graph_from_hnswlib(index, 1).levels[0],
  )


def _usearch(vectors: np.ndarray, k: int) -> Table:
  from usearch.index import Index as UsearchIndex

  index = UsearchIndex(
    ndim=vectors.shape[1],
    metric="l2sq",
    dtype="f32",
    connectivity=2 * _SETTINGS.flat_links,
    expansion_add=build.SLIM_EF_CONSTRUCTION,
    expansion_search=max(32, 4 * k),
  )
  index.add(np.arange(len(vectors)), vectors, threads=_THREADS)
  found: Any = index.search(vectors, k + 1, threads=_THREADS)
  rows = nearest.without_own(found.keys.astype(np.int64), 0)
  return Table(rows, _no_links(len(vectors)))


def _nn_descent(rounds: int) -> Finder:
  def find(vectors: np.ndarray, k: int) -> Table:
    # As many as it takes to improve a table of few; the first k are taken.
    width = 2 * max(k, 6)
    index: Any = faiss.IndexNNDescentFlat(vectors.shape[1], width)
    index.nndescent.L = width + 10
    index.nndescent.iter = rounds
    nearest.with_threads(_THREADS, lambda: index.add(vectors))
    found = faiss.vector_to_array(index.nndescent.final_graph)
    rows = found.reshape(len(vectors), -1)[:, : k + 1].astype(np.int64)
    return Table(nearest.without_own(rows, 0), _no_links(len(vectors)))

  return find


def _no_links(number: int) -> Level:
  return Level(np.zeros(0, np.int32), np.zeros(number + 1, np.int64))


_BUILDERS = {
  "paper_faiss": _paper("faiss"),
  "paper_hnswlib": _paper("hnswlib"),
  "best_first_faiss": _best_first(_faiss),
  "best_first_hnswlib": _best_first(_hnswlib),
  "best_first_usearch": _best_first(_usearch),
  "best_first_usearch_and_links": _best_first(_usearch, _faiss),
  "best_first_nn_descent_5": _best_first(_nn_descent(5)),
  "best_first_nn_descent_8": _best_first(_nn_descent(8)),
  "best_first_nn_descent_5_and_links": _best_first(_nn_descent(5), _faiss),
}


if __name__ == "__main__":
  main()
