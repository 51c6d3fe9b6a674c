"""Types of the compiled search; see ops/python."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

class PaperPolicy:
  def __init__(self, widths: Sequence[int], hops: Sequence[int]) -> None: ...

class BestFirstPolicy:
  def __init__(
    self, ef: int, width: int, max_steps: int, max_evaluations: int
  ) -> None: ...

class VectorScorer:
  def __init__(
    self, vectors: npt.ArrayLike, queries: npt.ArrayLike, metric: str
  ) -> None: ...

class Batch:
  def __init__(
    self,
    policy: PaperPolicy | BestFirstPolicy,
    k: int,
    expand: npt.ArrayLike,
    only_score: npt.ArrayLike,
    allowed: npt.ArrayLike,
    denied: npt.ArrayLike,
  ) -> None: ...

class Graph:
  def __init__(
    self,
    levels: Sequence[tuple[np.ndarray, np.ndarray]],
    entry_points: npt.ArrayLike,
  ) -> None: ...
  @property
  def num_rows(self) -> int: ...
  def search(
    self, score: Callable[..., npt.ArrayLike], batch: Batch, num_threads: int
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...
  def search_vectors(
    self, scorer: VectorScorer, batch: Batch, num_threads: int
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...

class VectorIndex:
  def __init__(
    self,
    neighbors: np.ndarray,
    codes: np.ndarray,
    offset: np.ndarray,
    step: float,
    vectors: np.ndarray,
    entries: np.ndarray,
    metric: str,
  ) -> None: ...
  def search(
    self, queries: np.ndarray, k: int, ef: int, num_threads: int
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...

def code_stride(width: int) -> int: ...
def encode(
  vectors: np.ndarray, offset: np.ndarray, step: float, codes: np.ndarray
) -> None: ...
def choose_neighbors(
  vectors: np.ndarray,
  first_row: int,
  candidates: np.ndarray,
  degree: int,
  alpha: float,
  num_threads: int,
) -> np.ndarray: ...
def link_both_ways(
  vectors: np.ndarray, table: np.ndarray, alpha: float, num_threads: int
) -> np.ndarray: ...
def instruction_set() -> str: ...
