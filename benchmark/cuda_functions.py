"""The C functions of ops/cuda and their structs, as ctypes knows them.

The header files say what each means: nann_cuda.h, device_memory.h, scorers.h.
"""

import ctypes
from typing import Any

MAX_LEVELS = 8

_POINTER, _INT, _LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64


class LevelStruct(ctypes.Structure):
  """See NannCudaLevel."""

  _fields_ = (
    ("values", _POINTER),
    ("row_splits", _POINTER),
    ("max_degree", _LONG),
  )


class GraphStruct(ctypes.Structure):
  """See NannCudaGraph."""

  _fields_ = (
    ("num_rows", _LONG),
    ("num_levels", _LONG),
    ("levels", LevelStruct * MAX_LEVELS),
    ("entry_points", _POINTER),
    ("num_entry_points", _LONG),
  )


class PolicyStruct(ctypes.Structure):
  """See NannCudaPolicy."""

  _fields_ = (
    ("is_paper", ctypes.c_int32),
    ("ef", _LONG),
    ("width", _LONG),
    ("max_steps", _LONG),
    ("max_evaluations", _LONG),
    ("widths", _POINTER),
    ("num_widths", _LONG),
    ("hops", _POINTER),
    ("num_hops", _LONG),
  )


class QueriesStruct(ctypes.Structure):
  """See NannCudaQueries."""

  _fields_ = (
    ("num_queries", _LONG),
    ("k", _LONG),
    ("expand", _POINTER),
    ("num_expand", _LONG),
    ("only_score", _POINTER),
    ("num_only_score", _LONG),
    ("allowed", _POINTER),
    ("denied", _POINTER),
    ("num_denied", _LONG),
  )


class Options(ctypes.Structure):
  """See NannCudaOptions."""

  _fields_ = (
    ("has_room_for_ties", ctypes.c_int32),
    ("num_threads", ctypes.c_int32),
    ("max_bitmap_bytes", _LONG),
  )


class Progress(ctypes.Structure):
  """See NannCudaProgress."""

  _fields_ = (
    ("num_active", ctypes.c_int32),
    ("max_candidates", ctypes.c_int32),
    ("num_tiles", ctypes.c_int32),
    ("num_no_room", ctypes.c_int32),
  )


class Step(ctypes.Structure):
  """See NannCudaStep."""

  _fields_ = (
    ("rows", _POINTER),
    ("scores", _POINTER),
    ("number", _POINTER),
    ("number_stride", _LONG),
    ("capacity", _LONG),
  )


class Description(ctypes.Structure):
  """See NannCudaDevice."""

  _fields_ = (
    ("name", ctypes.c_char * 64),
    ("capability", ctypes.c_int32),
    ("num_multiprocessors", ctypes.c_int32),
    ("memory_bytes", _LONG),
    ("cache_bytes", _LONG),
  )


# Result and arguments of each function; a result of _INT is a status.
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
  "NannCudaError": (ctypes.c_char_p, []),
  "NannCudaNumDevices": (ctypes.c_int32, []),
  "NannCudaDescribe": (_INT, [_POINTER]),
  "NannCudaAllocate": (_POINTER, [_LONG]),
  "NannCudaFree": (_INT, [_POINTER]),
  "NannCudaToDevice": (_INT, [_POINTER, _POINTER, _LONG, _POINTER]),
  "NannCudaToHost": (_INT, [_POINTER, _POINTER, _LONG, _POINTER]),
  "NannCudaSynchronize": (_INT, [_POINTER]),
  "NannCudaStreamNew": (_POINTER, []),
  "NannCudaStreamDelete": (_INT, [_POINTER]),
  "NannCudaEventNew": (_POINTER, []),
  "NannCudaEventRecord": (_INT, [_POINTER, _POINTER]),
  "NannCudaSecondsBetween": (ctypes.c_double, [_POINTER, _POINTER]),
  "NannCudaSearchNew": (_POINTER, [_POINTER] * 4),
  "NannCudaSearchDelete": (None, [_POINTER]),
  "NannCudaSearchBytes": (_LONG, [_POINTER]),
  "NannCudaVisitedBytes": (_LONG, [_POINTER]),
  "NannCudaSearchSetMemory": (None, [_POINTER, _POINTER]),
  "NannCudaSearchMaxSteps": (_LONG, [_POINTER]),
  "NannCudaSearchStart": (_INT, [_POINTER, _POINTER]),
  "NannCudaSearchStep": (Step, [_POINTER]),
  "NannCudaSearchAbsorb": (_INT, [_POINTER, _POINTER, _LONG, _POINTER]),
  "NannCudaSearchRead": (_INT, [_POINTER, _POINTER, _POINTER]),
  "NannCudaSearchFinish": (_INT, [_POINTER] * 6),
  "NannCudaScoreVectors": (_INT, [_POINTER] * 3),
  "NannCudaWalkVectors": (_INT, [_POINTER] * 3),
  "NannCudaPairScorerNew": (_POINTER, [_POINTER]),
  "NannCudaPairScorerDelete": (None, [_POINTER]),
  "NannCudaPairScorerBytes": (_LONG, [_POINTER]),
  "NannCudaPairScorerPrepare": (_INT, [_POINTER] * 3),
  "NannCudaScorePairs": (_INT, [_POINTER] * 3),
  "NannCudaScorePairRows": (
    _INT,
    [_POINTER, _LONG, ctypes.c_int32, _POINTER, _POINTER],
  ),
  "NannCudaWalkPairs": (_INT, [_POINTER] * 3),
  "NannCudaScanBytes": (_LONG, [_POINTER]),
  "NannCudaScanVectors": (_INT, [_POINTER] * 3),
  "NannCudaScanPairs": (_INT, [_POINTER] * 3),
}
