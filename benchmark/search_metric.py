"""Nearest vectors by Euclidean distance: queries a second against recall.

Our index walks faiss's graph, with neighbor lists made anew (`nann`) and as
they are (`nann_on_faiss_graph`). All libraries answer the same queries over the
same vectors, in turns, so that what disturbs the machine disturbs them alike.
The queries a second at a recall lie on the line between the two neighboring
settings; a library whose fastest setting has a higher recall counts with that.
"""

import argparse
import hashlib
import pathlib
import time
from collections.abc import Callable
from typing import Any

import harness
import metric_peers
import numpy as np

import nann
from nann import console, files

_RECALLS = (0.90, 0.95, 0.99)
# Each timing takes at least so long.
_LEAST_S = 0.2
_EFS = (10, 20, 35, 50, 70, 100, 140, 200, 280, 400, 560, 800)

# Recall and the queries a second of each repeat, by library and setting.
Curve = list[tuple[float, np.ndarray]]


def main() -> None:
  """Runs the benchmark."""
  parser = harness.parser(__doc__ or "")
  parser.add_argument("--num-vectors", type=int, default=300_000)
  parser.add_argument("--width", type=int, default=64)
  parser.add_argument("--vectors", help=".npy file; some rows become queries")
  parser.add_argument("--k", type=int, default=100)
  parser.add_argument("--num-queries", type=int, default=1000)
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--cache-dir", default="output/benchmark_cache")
  parser.add_argument("--png", metavar="FILE", help="also draw the curves")
  parser.add_argument(
    "--clock",
    choices=["wall", "processor"],
    default="wall",
    help="of one thread; processor time says more on a machine that is shared",
  )
  parser.add_argument("--quick", action="store_true", help="20,000 vectors")
  arguments = parser.parse_args()
  if arguments.quick:
    arguments.num_vectors, arguments.num_queries = 20_000, 200
    arguments.repeats = 3
  vectors, queries = _data(arguments)
  digest = hashlib.sha256(vectors).hexdigest()[:12]
  size = "x".join(str(number) for number in vectors.shape)
  cache = pathlib.Path(arguments.cache_dir) / f"{size}-{digest}"
  console.say(f"{size} vectors, {len(queries)} queries; indices in {cache}")

  opened = metric_peers.open_all(cache, vectors)
  for name in opened.missing:
    console.warn(f"{name} is not installed and is left out")
  ours, prepare_s = _ours(opened.peers, vectors, cache)
  libraries = {**ours, **opened.peers}
  exact = _exact(cache, vectors, queries, arguments.k)
  figures: dict[str, Any] = {
    "num_vectors": len(vectors),
    "width": vectors.shape[1],
    "num_queries": len(queries),
    "k": arguments.k,
    "clock_of_one_thread": arguments.clock,
    **{f"build_s_{name}": s for name, s in opened.build_s.items()},
    **{f"size_mb_{name}": mb for name, mb in opened.size_mb.items()},
    "size_mb_nann": _our_size_mb(cache, vectors),
    **prepare_s,
    **{f"version_{name}": v for name, v in opened.versions.items()},
  }
  curves = {}
  for num_threads in (1, 2):
    is_shared = arguments.clock == "processor" and num_threads == 1
    clock = time.process_time if is_shared else time.perf_counter
    measured = _measure(
      libraries, queries, exact, num_threads, arguments.repeats, clock
    )
    suffix = "" if num_threads == 1 else f"_{num_threads}_threads"
    figures.update(_summary(measured, suffix))
    curves[num_threads] = measured
  figures["curves"] = {
    name: [
      [round(recall, 4), *(int(q) for q in _quartiles(qps))]
      for recall, qps in curve
    ]
    for name, curve in curves[1].items()
  }
  harness.report(
    f"recall@{arguments.k} of {size} vectors", figures, arguments.json
  )
  if arguments.png:
    _draw(curves[1], pathlib.Path(arguments.png), size, arguments.k)


def _data(arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
  """Returns vectors and queries of the same kind that are not among them."""
  rng = np.random.default_rng(0)
  if arguments.vectors:
    table = np.load(arguments.vectors).astype(np.float32)
    order = rng.permutation(len(table))
    held_out = min(arguments.num_queries, len(table) // 10)
    return table[np.sort(order[held_out:])], table[order[:held_out]]
  # Clusters that overlap: a query's neighbors lie in several of them.
  number, width = arguments.num_vectors, arguments.width
  num_clusters = max(1, number // 1000)
  centers = rng.normal(size=(num_clusters, width))

  def draw(size: int) -> np.ndarray:
    chosen = centers[rng.integers(num_clusters, size=size)]
    points = chosen + 1.3 * rng.normal(size=(size, width))
    return points.astype(np.float32)

  return draw(number), draw(arguments.num_queries)


class _Ours:
  """Our index over the graph of another library."""

  def __init__(self, graph: nann.Graph, vectors: np.ndarray) -> None:
    self._index = graph.vector_index(vectors)

  def search(
    self, queries: np.ndarray, k: int, ef: int, num_threads: int
  ) -> np.ndarray:
    return self._index.search(queries, k, ef=ef, num_threads=num_threads).rows


def _ours(
  peers: dict[str, Any], vectors: np.ndarray, cache: pathlib.Path
) -> tuple[dict[str, _Ours], dict[str, float]]:
  """Makes our indices, and the seconds it took beside building the graph."""
  graph = nann.Graph.from_faiss(peers["faiss"].index)
  folder, times = cache / "refined", cache / "refine_s.json"
  begin = time.perf_counter()
  if not times.exists():
    graph.refined(vectors, num_threads=2).save(folder)
    seconds = round(time.perf_counter() - begin, 1)
    files.save_json(times, {"refine_s_nann": seconds})
  refined = nann.Graph.load(folder)
  begin = time.perf_counter()
  made = {
    "nann": _Ours(refined, vectors),
    "nann_on_faiss_graph": _Ours(graph, vectors),
  }
  prepare_s = round((time.perf_counter() - begin) / len(made), 1)
  refine_s = files.load_json(times, "search_metric")
  return made, {**refine_s, "prepare_s_nann": prepare_s}


def _our_size_mb(cache: pathlib.Path, vectors: np.ndarray) -> float:
  """Returns the size of graph, vectors, and their codes of a byte a number."""
  graph = metric_peers.size_mb(cache, "refined")
  return graph + round((vectors.nbytes + vectors.size) / 1e6, 1)


def _exact(
  cache: pathlib.Path, vectors: np.ndarray, queries: np.ndarray, k: int
) -> np.ndarray:
  """Returns [B, K] int32 rows of the exact answers."""
  digest = hashlib.sha256(queries).hexdigest()[:12]
  path = cache / f"exact-{digest}-{k}.npy"
  if not path.exists():
    norms = (vectors**2).sum(axis=1)
    rows = []
    for query in queries:
      distances = norms - 2 * (vectors @ query)
      rows.append(np.argpartition(distances, k)[:k])
    np.save(path, np.array(rows, dtype=np.int32))
  return np.load(path)


def _measure(
  libraries: dict[str, Any],
  queries: np.ndarray,
  exact: np.ndarray,
  num_threads: int,
  repeats: int,
  clock: Callable[[], float],
) -> dict[str, Curve]:
  """Searches with every library and setting, in turns."""
  k = exact.shape[1]
  order = np.random.default_rng(1)
  recalls: dict[tuple[str, int], float] = {}
  copies: dict[tuple[str, int], int] = {}
  qps: dict[tuple[str, int], list[float]] = {}
  for name, library in libraries.items():
    for ef in _EFS:
      library.search(queries, k, ef, num_threads)
      begin = clock()
      rows = library.search(queries, k, ef, num_threads)
      seconds = clock() - begin
      copies[name, ef] = 1 + int(_LEAST_S / max(seconds, 1e-3))
      pairs = zip(exact, rows, strict=True)
      recalls[name, ef] = float(np.mean([np.isin(*pair) for pair in pairs]))
      if recalls[name, ef] > 0.995:
        break
  for number in range(repeats):
    console.say(f"{num_threads} threads, round {number + 1} of {repeats}")
    for name, ef in recalls:
      asked = np.tile(queries, (copies[name, ef], 1))
      asked = asked[order.permutation(len(asked))]
      begin = clock()
      libraries[name].search(asked, k, ef, num_threads)
      seconds = clock() - begin
      qps.setdefault((name, ef), []).append(len(asked) / seconds)
  curves: dict[str, Curve] = {name: [] for name in libraries}
  for (name, ef), recall in recalls.items():
    curves[name].append((recall, np.array(qps[name, ef])))
  return curves


def _qps_at(curve: Curve, recall: float) -> float | None:
  """Returns the queries a second at a recall, None where it is not reached."""
  points = sorted((r, float(np.median(qps))) for r, qps in curve)
  if recall > points[-1][0]:
    return None
  recalls, medians = zip(*points, strict=True)
  # Below the first point np.interp stays there: no faster setting is known.
  return float(np.exp(np.interp(recall, recalls, np.log(medians))))


def _quartiles(qps: np.ndarray) -> list[float]:
  """Returns the median and, as the spread, the quartiles."""
  return [float(np.percentile(qps, share)) for share in (50, 25, 75)]


def _summary(curves: dict[str, Curve], suffix: str) -> dict[str, Any]:
  """Returns the queries a second, and how many times the others' ours are."""
  figures: dict[str, Any] = {}
  for recall in _RECALLS:
    at = f"at_recall_{round(100 * recall)}{suffix}"
    for name, curve in curves.items():
      figures[f"qps_{name}_{at}"] = _qps_at(curve, recall)
    ours = figures[f"qps_nann_{at}"]
    for name in curves:
      theirs = figures[f"qps_{name}_{at}"]
      if name != "nann":
        ratio = ours / theirs if ours and theirs else None
        figures[f"qps_ratio_{name}_{at}"] = ratio
  return figures


def _draw(
  curves: dict[str, Curve], path: pathlib.Path, size: str, k: int
) -> None:
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(figsize=(7, 5))
  for name, curve in curves.items():
    points = np.array([[recall, *_quartiles(qps)] for recall, qps in curve])
    (line,) = axes.plot(points[:, 0], points[:, 1], marker="o", label=name)
    axes.fill_between(
      points[:, 0], *points[:, 2:].T, alpha=0.2, color=line.get_color()
    )
  axes.set(
    yscale="log",
    xlim=(0.8, 1.0),
    xlabel=f"recall@{k}",
    ylabel="queries a second, one thread",
    title=f"{size} vectors",
  )
  axes.grid(which="both", alpha=0.3)
  axes.legend()
  path.parent.mkdir(parents=True, exist_ok=True)
  figure.savefig(path, dpi=150, bbox_inches="tight")


if __name__ == "__main__":
  main()
