"""The built-in scorers of the GPU (ops/cuda/scorers.h) for Python."""

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmark.cuda_library import (
  Array,
  Found,
  Library,
  Search,
  to_device,
)

FLOAT32, FLOAT16, BFLOAT16 = 0, 1, 2
MAX_LAYERS = 4

_POINTER, _LONG = ctypes.c_void_p, ctypes.c_int64


class _Vectors(ctypes.Structure):
  _fields_ = (
    ("type", ctypes.c_int32),
    ("is_l2", ctypes.c_int32),
    ("width", _LONG),
    ("rows", _POINTER),
    ("queries", _POINTER),
  )


class _Layer(ctypes.Structure):
  _fields_ = (
    ("slope", _POINTER),
    ("kernel", _POINTER),
    ("bias", _POINTER),
    ("inputs", _LONG),
    ("outputs", _LONG),
  )


class _Pairs(ctypes.Structure):
  _fields_ = (
    ("type", ctypes.c_int32),
    ("uses_matrix_units", ctypes.c_int32),
    ("num_queries", _LONG),
    ("query_width", _LONG),
    ("length", _LONG),
    ("num_values", _LONG),
    ("width", _LONG),
    ("item_query", _POINTER),
    ("item_hidden", _POINTER),
    ("keys", _POINTER),
    ("key_bias", _POINTER),
    ("values", _POINTER),
    ("user_hidden", _POINTER),
    ("num_layers", _LONG),
    ("layers", _Layer * MAX_LAYERS),
    ("last_slope", _POINTER),
    ("out", _POINTER),
  )


class _Scan(ctypes.Structure):
  _fields_ = (
    ("num_rows", _LONG),
    ("num_queries", _LONG),
    ("k", _LONG),
    ("part_rows", _LONG),
    ("memory", _POINTER),
    ("rows", _POINTER),
    ("scores", _POINTER),
    ("faults", _POINTER),
  )


def to_bfloat16(values: np.ndarray) -> np.ndarray:
  """Rounds float32 to bfloat16, held as uint16."""
  bits = values.astype(np.float32).view(np.uint32)
  bits = bits + 0x7FFF + (bits >> 16 & 1)
  return (bits >> 16).astype(np.uint16)


def from_bfloat16(values: np.ndarray) -> np.ndarray:
  return (values.astype(np.uint32) << 16).view(np.float32)


def as_type(values: np.ndarray, kind: int) -> np.ndarray:
  """Converts numbers to one of the types of items' state."""
  if kind == BFLOAT16:
    return to_bfloat16(values)
  return values.astype(np.float16 if kind == FLOAT16 else np.float32)


def as_floats(values: np.ndarray, kind: int) -> np.ndarray:
  """Converts back: the numbers with what rounding has left of them."""
  if kind == BFLOAT16:
    return from_bfloat16(values)
  return values.astype(np.float32)


class VectorScorer:
  """Vectors under a metric.

  Args:
    rows: [I, D] of the type.
    queries: [B, D] float32.
    is_l2: Minus the squared distance; else the inner product.
    kind: FLOAT32, FLOAT16 or BFLOAT16.
  """

  def __init__(
    self,
    library: Library,
    rows: np.ndarray | Array,
    queries: np.ndarray,
    is_l2: bool,
    kind: int = FLOAT32,
  ) -> None:
    self.library = library
    self.rows = rows if isinstance(rows, Array) else to_device(library, rows)
    self.queries = to_device(library, queries)
    self.num_rows, self.num_queries = self.rows.shape[0], len(queries)
    self.struct = _Vectors(
      kind,
      int(is_l2),
      self.rows.shape[1],
      self.rows.pointer,
      self.queries.pointer,
    )
    self.argument = ctypes.byref(self.struct)
    self.score_name, self.walk_name, self.scan_name = (
      "NannCudaScoreVectors",
      "NannCudaWalkVectors",
      "NannCudaScanVectors",
    )


class PairWeights(NamedTuple):
  """Weights of the layers, all float32.

  Attributes:
    slopes: Of each PReLU, [inputs of the layer after it].
    kernels: [inputs, outputs] each.
    biases: [outputs] each.
    out: [outputs of the last layer].
  """

  slopes: Sequence[np.ndarray]
  kernels: Sequence[np.ndarray]
  biases: Sequence[np.ndarray]
  out: np.ndarray


class PairUsers(NamedTuple):
  """User state, float32.

  Attributes:
    keys: [B, Q, L], Q 0 without attention.
    key_bias: [B, L].
    values: [B, at most L, W]; 0 beyond.
    hidden: [B, W] or None.
  """

  keys: np.ndarray
  key_bias: np.ndarray
  values: np.ndarray
  hidden: np.ndarray | None = None


class PairScorer:
  """The pair part of an attention scorer; its user state is prepared once.

  Args:
    query: [I, Q] of the type.
    hidden: [I, W] of the type.
    users: User state.
    weights: Weights.
    kind: FLOAT32, FLOAT16 or BFLOAT16.
    uses_matrix_units: See NannCudaPairs.
  """

  def __init__(
    self,
    library: Library,
    query: np.ndarray | Array,
    hidden: np.ndarray | Array,
    users: PairUsers,
    weights: PairWeights,
    kind: int = FLOAT32,
    uses_matrix_units: bool = True,
  ) -> None:
    self.library = library
    self._kept: list[Any] = []
    place = self._place
    self.num_rows, self.num_queries = hidden.shape[0], len(users.keys)
    pairs = _Pairs(
      type=kind,
      uses_matrix_units=int(uses_matrix_units),
      num_queries=self.num_queries,
      query_width=users.keys.shape[1],
      length=users.keys.shape[2],
      num_values=users.values.shape[1],
      width=hidden.shape[1],
      item_query=place(query),
      item_hidden=place(hidden),
      keys=place(users.keys),
      key_bias=place(users.key_bias),
      values=place(users.values),
      user_hidden=None if users.hidden is None else place(users.hidden),
      num_layers=len(weights.kernels),
      last_slope=place(weights.slopes[-1]),
      out=place(weights.out),
    )
    for i, kernel in enumerate(weights.kernels[:MAX_LAYERS]):
      pairs.layers[i] = _Layer(
        place(weights.slopes[i]),
        place(kernel),
        place(weights.biases[i]),
        *kernel.shape,
      )
    self.argument = library("NannCudaPairScorerNew", ctypes.byref(pairs))
    self.size_bytes = library("NannCudaPairScorerBytes", self.argument)
    self.memory = Array(library, [self.size_bytes], np.uint8)
    self.prepare()
    self.score_name, self.walk_name, self.scan_name = (
      "NannCudaScorePairs",
      "NannCudaWalkPairs",
      "NannCudaScanPairs",
    )

  def prepare(self, stream: int | None = None) -> None:
    self.library(
      "NannCudaPairScorerPrepare", self.argument, self.memory.pointer, stream
    )

  def _place(self, values: np.ndarray | Array) -> int:
    if not isinstance(values, Array):
      values = to_device(self.library, values)
    self._kept.append(values)
    return int(values.pointer)

  def __del__(self) -> None:
    if hasattr(self, "argument"):
      self.library("NannCudaPairScorerDelete", self.argument)


Scorer = VectorScorer | PairScorer


def score_step(
  search: Search, scorer: Scorer, stream: int | None = None
) -> None:
  """Scores the rows of the step and gives the scores to the search."""
  search.library(scorer.score_name, search.pointer, scorer.argument, stream)
  step = search.step()
  search.absorb(step.scores, step.capacity, stream)


def search_by_steps(search: Search, scorer: Scorer) -> Found:
  """Searches; the host looks after every step whether there is another."""
  search.start()
  while search.progress().num_active:
    score_step(search, scorer)
  search.finish()
  return search.answers()


def walk(search: Search, scorer: Scorer, stream: int | None = None) -> None:
  """Puts a whole search into the stream."""
  search.library(scorer.walk_name, search.pointer, scorer.argument, stream)
  search.finish(stream)


def score_rows(
  scorer: PairScorer, num_rows: int, has_rows_per_query: bool
) -> np.ndarray:
  """Scores the first rows, or as many of each query's own; waits.

  Args:
    scorer: Items and users.
    num_rows: N.
    has_rows_per_query: The items are [B, N], one query's after the other's.

  Returns:
    [B, N] float32.
  """
  library = scorer.library
  scores = Array(library, [scorer.num_queries, num_rows], np.float32)
  library(
    "NannCudaScorePairRows",
    scorer.argument,
    num_rows,
    int(has_rows_per_query),
    scores.pointer,
    None,
  )
  return scores.get()


class Scan:
  """An exact scan of all rows, with its memory."""

  def __init__(self, scorer: Scorer, k: int, part_rows: int = 0) -> None:
    library = scorer.library
    self.library, self.scorer = library, scorer
    shape = [scorer.num_queries, k]
    self.found = [
      Array(library, shape, np.int32),
      Array(library, shape, np.float32),
      Array(library, [scorer.num_queries, 2], np.int32),
    ]
    rows, scores, faults = (array.pointer for array in self.found)
    self.struct = _Scan(
      num_rows=scorer.num_rows,
      num_queries=scorer.num_queries,
      k=k,
      part_rows=part_rows,
      rows=rows,
      scores=scores,
      faults=faults,
    )
    self.size_bytes = library("NannCudaScanBytes", ctypes.byref(self.struct))
    self.memory = Array(library, [self.size_bytes], np.uint8)
    self.struct.memory = self.memory.pointer

  def run(self, stream: int | None = None) -> None:
    self.library(
      self.scorer.scan_name,
      ctypes.byref(self.struct),
      self.scorer.argument,
      stream,
    )

  def answers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns rows, scores [B, K] and faults [B, 2]; waits."""
    rows, scores, faults = (array.get() for array in self.found)
    return rows, scores, faults
