"""The search on a GPU for Python, by ctypes and NumPy alone.

For tests and measurements where TensorFlow's GPU build is absent. The C
functions are those of ops/cuda/nann_cuda.h; the same library may be compiled
for the emulator of the tests, which needs no GPU.
"""

import ctypes
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmark import cuda_functions as functions
from benchmark.cuda_functions import Description, Options, Progress, Step

MAX_LEVELS = functions.MAX_LEVELS
NOT_A_NUMBER, NO_ROOM = 1, 2

_POINTER, _INT = ctypes.c_void_p, ctypes.c_int


class Library:
  """The functions by name; one that fails raises ValueError."""

  def __init__(self, path: pathlib.Path) -> None:
    self.loaded = ctypes.CDLL(str(path))
    for name, (result, arguments) in functions.FUNCTIONS.items():
      function = getattr(self.loaded, name)
      function.restype, function.argtypes = result, arguments

  def __call__(self, name: str, *arguments: Any) -> Any:
    result = getattr(self.loaded, name)(*arguments)
    kind = functions.FUNCTIONS[name][0]
    if (kind is _INT and result) or (kind is _POINTER and result is None):
      raise ValueError(self.loaded.NannCudaError().decode())
    return result

  def num_devices(self) -> int:
    return int(self.loaded.NannCudaNumDevices())

  def describe(self) -> Description:
    described = Description()
    self("NannCudaDescribe", ctypes.byref(described))
    return described


class Array:
  """An array on the device, freed with this object."""

  def __init__(
    self, library: Library, shape: Sequence[int], dtype: Any
  ) -> None:
    self.library = library
    self.shape, self.dtype = tuple(shape), np.dtype(dtype)
    self.size_bytes = int(np.prod(self.shape)) * self.dtype.itemsize
    self.pointer = library("NannCudaAllocate", self.size_bytes)

  def __del__(self) -> None:
    if hasattr(self, "pointer"):
      self.library.loaded.NannCudaFree(self.pointer)

  def set(self, values: np.ndarray) -> "Array":
    """Copies an array of the same shape and type to the device."""
    assert values.shape == self.shape
    return self.set_rows(0, values)

  def set_rows(self, first: int, values: np.ndarray) -> "Array":
    """Copies some rows to their place on the device."""
    assert values.shape[1:] == self.shape[1:]
    assert values.dtype == self.dtype
    assert first + len(values) <= self.shape[0]
    values = np.ascontiguousarray(values)
    row_bytes = self.size_bytes // max(1, self.shape[0])
    self.library(
      "NannCudaToDevice",
      self.pointer + first * row_bytes,
      values.ctypes.data,
      values.nbytes,
      None,
    )
    # The memory of the host may be given back before the copy.
    self.library("NannCudaSynchronize", None)
    return self

  def get(self) -> np.ndarray:
    """Copies the array to the host; waits."""
    values = np.empty(self.shape, self.dtype)
    read(self.library, self.pointer, values)
    return values


def read(library: Library, pointer: int, values: np.ndarray) -> None:
  """Fills an array from memory of the device; waits."""
  library("NannCudaToHost", values.ctypes.data, pointer, values.nbytes, None)


def to_device(library: Library, values: np.ndarray) -> Array:
  return Array(library, values.shape, values.dtype).set(values)


class Graph:
  """A graph on the device.

  Args:
    levels: Neighbors [E] int32 and row splits [I + 1] int64 of each level.
    entry_points: [P] int32.
  """

  def __init__(
    self,
    library: Library,
    levels: Sequence[tuple[np.ndarray, np.ndarray]],
    entry_points: np.ndarray,
  ) -> None:
    self.library = library
    self.arrays = [
      (to_device(library, values), to_device(library, splits))
      for values, splits in levels
    ]
    self.entry_points = to_device(library, entry_points)
    self.num_rows = len(levels[0][1]) - 1
    graph = functions.GraphStruct(
      num_rows=self.num_rows,
      num_levels=len(levels),
      entry_points=self.entry_points.pointer,
      num_entry_points=len(entry_points),
    )
    for i, (values, splits) in enumerate(self.arrays[:MAX_LEVELS]):
      degrees = np.diff(levels[i][1])
      graph.levels[i] = functions.LevelStruct(
        values.pointer, splits.pointer, int(degrees.max(initial=0))
      )
    self.struct = graph


class Paper(NamedTuple):
  """Policy paper; see ops/core/beam_search.h."""

  widths: list[int]
  hops: list[int]


class BestFirst(NamedTuple):
  """Policy best first."""

  ef: int
  width: int
  max_steps: int
  max_evaluations: int


class Queries(NamedTuple):
  """What B searches start from.

  Attributes:
    k: K.
    expand: [B, F] int32 rows padded with -1.
    only_score: [B, M] int32 rows padded with -1.
    allowed: [B, (I + 7) / 8] uint8, or None.
    denied: [B, X] int32 padded with -1, or None.
  """

  k: int
  expand: np.ndarray
  only_score: np.ndarray
  allowed: np.ndarray | None = None
  denied: np.ndarray | None = None


class Found(NamedTuple):
  """Answers of B searches.

  Attributes:
    rows: [B, K] int32 padded with -1.
    scores: [B, K] float32 padded with -inf.
    num_scored: [B, S] int32 padded with 0.
    faults: [B, 2] int32, kind and row.
  """

  rows: np.ndarray
  scores: np.ndarray
  num_scored: np.ndarray
  faults: np.ndarray


class Search:
  """A search with its memory; starts anew as often as wanted."""

  def __init__(
    self,
    graph: Graph,
    policy: Paper | BestFirst,
    queries: Queries,
    options: Options | None = None,
  ) -> None:
    self.library, self.graph = graph.library, graph
    self.num_queries, self.k = len(queries.expand), queries.k
    self._kept: list[Any] = []
    self.pointer = self.library(
      "NannCudaSearchNew",
      ctypes.byref(graph.struct),
      ctypes.byref(self._policy(policy)),
      ctypes.byref(self._queries(queries)),
      ctypes.byref(options) if options is not None else None,
    )
    self.size_bytes = self.library("NannCudaSearchBytes", self.pointer)
    self.visited_bytes = self.library("NannCudaVisitedBytes", self.pointer)
    self.memory = Array(self.library, [self.size_bytes], np.uint8)
    self.library("NannCudaSearchSetMemory", self.pointer, self.memory.pointer)
    self.max_steps = self.library("NannCudaSearchMaxSteps", self.pointer)
    shape = [self.num_queries, self.k]
    self.found = [
      Array(self.library, shape, np.int32),
      Array(self.library, shape, np.float32),
      Array(self.library, [self.num_queries, self.max_steps], np.int32),
      Array(self.library, [self.num_queries, 2], np.int32),
    ]

  def __del__(self) -> None:
    if hasattr(self, "pointer"):
      self.library("NannCudaSearchDelete", self.pointer)

  def _policy(self, policy: Paper | BestFirst) -> functions.PolicyStruct:
    if isinstance(policy, BestFirst):
      return functions.PolicyStruct(0, *policy)
    widths = np.array(policy.widths, np.int32)
    hops = np.array(policy.hops, np.int32)
    self._kept += [widths, hops]
    return functions.PolicyStruct(
      is_paper=1,
      widths=widths.ctypes.data,
      num_widths=len(widths),
      hops=hops.ctypes.data,
      num_hops=len(hops),
    )

  def _queries(self, queries: Queries) -> functions.QueriesStruct:
    def place(values: np.ndarray | None) -> int | None:
      if values is None:
        return None
      self._kept.append(to_device(self.library, values))
      return int(self._kept[-1].pointer)

    denied = queries.denied
    return functions.QueriesStruct(
      num_queries=self.num_queries,
      k=queries.k,
      expand=place(queries.expand),
      num_expand=queries.expand.shape[1],
      only_score=place(queries.only_score),
      num_only_score=queries.only_score.shape[1],
      allowed=place(queries.allowed),
      denied=place(denied),
      num_denied=0 if denied is None else denied.shape[1],
    )

  def start(self, stream: int | None = None) -> None:
    self.library("NannCudaSearchStart", self.pointer, stream)

  def step(self) -> Step:
    return self.library("NannCudaSearchStep", self.pointer)

  def progress(self, stream: int | None = None) -> Progress:
    """Says what the step holds; waits."""
    progress = Progress()
    self.library(
      "NannCudaSearchRead", self.pointer, ctypes.byref(progress), stream
    )
    return progress

  def absorb(self, scores: int, stride: int, stream: int | None = None) -> None:
    self.library("NannCudaSearchAbsorb", self.pointer, scores, stride, stream)

  def finish(self, stream: int | None = None) -> None:
    """Writes the answers on the device."""
    pointers = [array.pointer for array in self.found]
    self.library("NannCudaSearchFinish", self.pointer, *pointers, stream)

  def answers(self) -> Found:
    """Copies the answers to the host; waits."""
    return Found(*(array.get() for array in self.found))


def search_with(
  search: Search, score: Callable[[np.ndarray, int], np.ndarray]
) -> Found:
  """Searches with a scorer on the host: (rows [n], query) -> scores [n]."""
  search.start()
  library = search.library
  capacity = search.step().capacity
  scores = Array(library, [search.num_queries, capacity], np.float32)
  given = np.zeros(scores.shape, np.float32)
  rows = np.empty(scores.shape, np.int32)
  while search.progress().num_active:
    step = search.step()
    states = np.empty([search.num_queries, step.number_stride], np.int32)
    read(library, step.number, states)
    read(library, step.rows, rows)
    for query, number in enumerate(states[:, 0]):
      asked = rows[query, :number]
      if number:
        given[query, :number] = score(asked, query)
    scores.set(given)
    search.absorb(scores.pointer, capacity)
  search.finish()
  return search.answers()
