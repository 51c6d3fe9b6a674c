"""Libraries that search vectors, behind one face, for search_metric.py.

Each is built with its usual careful settings for 32 links a row, and is kept in
a cache folder with the seconds that building took. What an index takes of
memory is told by the size of its files, vectors included.
"""

import importlib
import importlib.util
import json
import pathlib
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any, NamedTuple, Protocol

import numpy as np

_LINKS = 32
_EF_CONSTRUCTION = 200
_BUILD_THREADS = 2


class Peer(Protocol):
  """A library with an index in memory."""

  def search(
    self, queries: np.ndarray, k: int, ef: int, num_threads: int
  ) -> np.ndarray:
    """Returns [B, K] rows."""


class Faiss:
  """faiss.IndexHNSWFlat, M = 32, efConstruction = 200."""

  package, module = "faiss-cpu", "faiss"
  files = "faiss*"

  def __init__(self, folder: pathlib.Path, vectors: np.ndarray) -> None:
    import faiss

    self._faiss = faiss
    path = folder / "faiss.idx"
    if not path.exists():
      index = faiss.IndexHNSWFlat(vectors.shape[1], _LINKS)
      index.hnsw.efConstruction = _EF_CONSTRUCTION
      faiss.omp_set_num_threads(_BUILD_THREADS)
      index.add(vectors)
      faiss.write_index(index, str(path))
    self.index = faiss.read_index(str(path))

  def search(
    self, queries: np.ndarray, k: int, ef: int, num_threads: int
  ) -> np.ndarray:
    self._faiss.omp_set_num_threads(num_threads)
    self.index.hnsw.efSearch = ef
    return self.index.search(queries, k)[1]


class Hnswlib:
  """hnswlib.Index with the same parameters."""

  package, module = "hnswlib", "hnswlib"
  files = "hnswlib*"

  def __init__(self, folder: pathlib.Path, vectors: np.ndarray) -> None:
    import hnswlib

    path = folder / "hnswlib.bin"
    self.index = hnswlib.Index("l2", vectors.shape[1])
    if not path.exists():
      self.index.init_index(
        len(vectors), M=_LINKS, ef_construction=_EF_CONSTRUCTION
      )
      self.index.add_items(vectors, num_threads=_BUILD_THREADS)
      self.index.save_index(str(path))
      self.index = hnswlib.Index("l2", vectors.shape[1])
    self.index.load_index(str(path))

  def search(
    self, queries: np.ndarray, k: int, ef: int, num_threads: int
  ) -> np.ndarray:
    self.index.set_ef(max(ef, k))
    return self.index.knn_query(queries, k, num_threads=num_threads)[0]


class Usearch:
  """usearch.index.Index of float32; connectivity is that of level 0 / 2."""

  package, module = "usearch", "usearch"
  files = "usearch*"

  def __init__(self, folder: pathlib.Path, vectors: np.ndarray) -> None:
    from usearch.index import Index

    path = folder / "usearch.bin"
    index = Index(
      ndim=vectors.shape[1],
      metric="l2sq",
      dtype="f32",
      connectivity=_LINKS,
      expansion_add=_EF_CONSTRUCTION,
    )
    if not path.exists():
      keys = np.arange(len(vectors), dtype=np.uint64)
      index.add(keys, vectors, threads=_BUILD_THREADS)
      index.save(str(path))
    index.load(str(path))
    self.index = index

  def search(
    self, queries: np.ndarray, k: int, ef: int, num_threads: int
  ) -> np.ndarray:
    self.index.expansion_search = ef
    return self.index.search(queries, k, threads=num_threads).keys


class ScalableVs:
  """svs.Vamana of float32, degree 64, window 200, alpha 1.2.

  Its compressed vectors (LVQ) end the process on a processor of another maker
  than theirs, so they are left out.
  """

  package, module = "scalable-vs", "svs"
  files = "svs_*"

  def __init__(self, folder: pathlib.Path, vectors: np.ndarray) -> None:
    import svs

    self._svs = svs
    parts = [
      str(folder / f"svs_{part}") for part in ("config", "graph", "data")
    ]
    if not pathlib.Path(parts[0]).exists():
      parameters = svs.VamanaBuildParameters(
        graph_max_degree=2 * _LINKS,
        window_size=_EF_CONSTRUCTION,
        alpha=1.2,
      )
      built = svs.Vamana.build(
        parameters, vectors, svs.DistanceType.L2, num_threads=_BUILD_THREADS
      )
      built.save(*parts)
    config, graph, data = parts
    self.index = svs.Vamana(
      config,
      svs.GraphLoader(graph),
      svs.VectorDataLoader(data, svs.float32, dims=vectors.shape[1]),
      svs.DistanceType.L2,
      num_threads=1,
    )

  def search(
    self, queries: np.ndarray, k: int, ef: int, num_threads: int
  ) -> np.ndarray:
    if self.index.num_threads != num_threads:
      self.index.num_threads = num_threads
    parameters = self.index.search_parameters
    parameters.buffer_config = self._svs.SearchBufferConfig(ef, max(ef, k))
    self.index.search_parameters = parameters
    return self.index.search(queries, k)[0]


class Scann:
  """ScaNN: a tree of sqrt(n) leaves, product codes, exact re-ranking.

  As its documentation recommends for this many vectors. Its TensorFlow ops are
  compiled for another TensorFlow than ours and fail to load beside it; without
  any its own interface is all there is, which is the one used here.
  """

  package, module = "scann", "scann"
  files = "scann*"

  def __init__(self, folder: pathlib.Path, vectors: np.ndarray) -> None:
    # In place of TensorFlow: what says that it is not there.
    found = sys.modules.get("tensorflow")
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    try:
      from scann.scann_ops.py import scann_ops_pybind
    finally:
      del sys.modules["tensorflow"]
      if found is not None:
        sys.modules["tensorflow"] = found
    # Its files name each other by their paths.
    path = folder.resolve() / "scann"
    num_leaves = round(len(vectors) ** 0.5)
    if not path.exists():
      path.mkdir()
      builder = (
        scann_ops_pybind.builder(vectors, 100, "squared_l2")
        .set_n_training_threads(_BUILD_THREADS)
        .tree(
          num_leaves=num_leaves,
          num_leaves_to_search=num_leaves // 10 + 1,
          training_sample_size=min(len(vectors), 250_000),
        )
        .score_ah(2, anisotropic_quantization_threshold=0.2)
        .reorder(200)
      )
      builder.build().serialize(str(path))
    self.index = scann_ops_pybind.load_searcher(str(path))

  def search(
    self, queries: np.ndarray, k: int, ef: int, num_threads: int
  ) -> np.ndarray:
    # A tree has no ef: leaves grow with it, and what is ranked exactly.
    options = {
      "final_num_neighbors": k,
      "pre_reorder_num_neighbors": max(ef, 2 * k),
      "leaves_to_search": max(1, ef // 4),
    }
    if num_threads == 1:
      return self.index.search_batched(queries, **options)[0]
    self.index.set_num_threads(num_threads)
    batch = -(-len(queries) // num_threads)
    return self.index.search_batched_parallel(
      queries, batch_size=batch, **options
    )[0]


PEERS: dict[str, Callable[[pathlib.Path, np.ndarray], Peer]] = {
  "faiss": Faiss,
  "hnswlib": Hnswlib,
  "usearch": Usearch,
  "scalable_vs": ScalableVs,
  "scann": Scann,
}


class Opened(NamedTuple):
  """What is installed, ready to search."""

  peers: dict[str, Any]
  build_s: dict[str, float]
  size_mb: dict[str, float]
  versions: dict[str, str]
  missing: list[str]


def size_mb(folder: pathlib.Path, pattern: str) -> float:
  """Returns the size of files, those in folders included."""
  found = [*folder.glob(pattern), *folder.glob(f"{pattern}/**/*")]
  size = sum(path.stat().st_size for path in found if path.is_file())
  return round(size / 1e6, 1)


def open_all(folder: pathlib.Path, vectors: np.ndarray) -> Opened:
  """Builds every library's index, or takes it from the folder."""
  folder.mkdir(parents=True, exist_ok=True)
  times = folder / "build_s.json"
  build_s = json.loads(times.read_text()) if times.exists() else {}
  opened = Opened({}, build_s, {}, {}, [])
  for name, make in PEERS.items():
    if importlib.util.find_spec(make.module) is None:  # type: ignore[attr-defined]
      opened.missing.append(name)
      continue
    begin = time.perf_counter()
    opened.peers[name] = make(folder, vectors)
    build_s.setdefault(name, round(time.perf_counter() - begin, 1))
    times.write_text(json.dumps(build_s, indent=2) + "\n")
    opened.size_mb[name] = size_mb(folder, make.files)  # type: ignore[attr-defined]
    opened.versions[name] = metadata.version(make.package)  # type: ignore[attr-defined]
  return opened
