"""Times the search on a GPU, and says how near it comes to what the GPU can do.

`python -m benchmark.cuda_check` runs this after the answers have been checked.
Every figure is of work in a stream between two events, after warming up.
"""

import ctypes
import statistics
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmark import cuda_library as cuda
from benchmark import cuda_scorers as scorers
from benchmark import cuda_world as worlds

K = 200
# The original's: beam widths from level 0 up, the entry points last.
_WIDTHS, _HOPS = [400, 200, 100], [3, 1, 1]
_KINDS = {
  "float32": (scorers.FLOAT32, False),
  # Products in float32 all the same.
  "float16 widened": (scorers.FLOAT16, False),
  "float16": (scorers.FLOAT16, True),
  "bfloat16": (scorers.BFLOAT16, True),
}
METRIC_WIDTH, METRIC_K, METRIC_ENTRIES = 64, 10, 8
METRIC_POLICY = cuda.BestFirst(128, 16, 200, 100_000)
_LONG_SECONDS = 2.0


class Plan(NamedTuple):
  """What is measured."""

  items: list[int]
  scored: list[int]
  batches: list[int]
  repeats: int
  kinds: list[str]
  sizes: worlds.Sizes
  rounds: int  # Of multiplications, to find the ceilings.


class Timer:
  """Measures work in the default stream."""

  def __init__(self, library: cuda.Library, repeats: int) -> None:
    self.library, self.repeats = library, repeats
    self.events = [library("NannCudaEventNew") for _ in range(2)]

  def seconds(self, work: Callable[[], Any]) -> float:
    """Returns the median time of some work, after the first two times.

    Long work is repeated less often, but three times.
    """
    times: list[float] = []
    while len(times) < 2 + self.repeats:
      self.library("NannCudaEventRecord", self.events[0], None)
      work()
      self.library("NannCudaEventRecord", self.events[1], None)
      times.append(self._between())
      if len(times) >= 5 and sum(times) > _LONG_SECONDS:
        break
    return statistics.median(times[2:])

  def _between(self) -> float:
    """Returns the time between the events; what failed in it shows here."""
    seconds = self.library.loaded.NannCudaSecondsBetween(*self.events)
    if seconds < 0:
      raise ValueError(self.library.loaded.NannCudaError().decode())
    return float(seconds)


class Ceilings(NamedTuple):
  """What the device can do, measured: bytes and operations a second."""

  bytes_per_s: float
  float32_per_s: float
  float16_per_s: float


def ceilings(library: cuda.Library, plan: Plan) -> Ceilings:
  """Copies memory, and multiplies in registers."""
  timer = Timer(library, plan.repeats)
  size_bytes = min(1 << 31, library.describe().memory_bytes // 8)
  memory = [cuda.Array(library, [size_bytes], np.uint8) for _ in range(2)]
  loaded = library.loaded
  loaded.NannCudaCopyOnDevice.argtypes = [ctypes.c_void_p] * 2 + [
    ctypes.c_int64,
    ctypes.c_void_p,
  ]
  loaded.NannCudaMultiplyInRegisters.argtypes = [
    ctypes.c_int,
    ctypes.c_int64,
    ctypes.c_void_p,
    ctypes.c_void_p,
  ]
  loaded.NannCudaMultiplyInRegisters.restype = ctypes.c_double

  def copy() -> None:
    if loaded.NannCudaCopyOnDevice(
      memory[1].pointer, memory[0].pointer, size_bytes, None
    ):
      raise ValueError(loaded.NannCudaError().decode())

  copied_s = timer.seconds(copy)
  rates = []
  for is_matrix in [0, 1]:
    operations = 0.0

    def multiply(is_matrix: int = is_matrix) -> None:
      nonlocal operations
      operations = loaded.NannCudaMultiplyInRegisters(
        is_matrix, plan.rounds, memory[0].pointer, None
      )

    seconds = timer.seconds(multiply)
    rates.append(operations / seconds)
  return Ceilings(2 * size_bytes / copied_s, *rates)


def _paper(scale: float, num_rows: int) -> cuda.Paper:
  widths = [min(num_rows, max(1, round(scale * w))) for w in _WIDTHS]
  return cuda.Paper(widths, _HOPS)


def _fit(
  graph: cuda.Graph, scorer: scorers.PairScorer, wanted: int
) -> cuda.Paper:
  """Finds beam widths with which a search scores so many rows."""
  low, high = 0.02, 16.0
  for _ in range(9):
    policy = _paper((low * high) ** 0.5, graph.num_rows)
    search = _search(graph, policy, scorer.num_queries)
    scorers.walk(search, scorer)
    if search.answers().num_scored.sum(1).mean() < wanted:
      low = (low * high) ** 0.5
    else:
      high = (low * high) ** 0.5
  return policy


def _search(
  graph: cuda.Graph, policy: cuda.Paper | cuda.BestFirst, num_users: int
) -> cuda.Search:
  none = worlds.no_entries(num_users)
  return cuda.Search(graph, policy, cuda.Queries(K, none, none))


def _scoring_seconds(
  search: cuda.Search, scorer: scorers.Scorer, timer: Timer
) -> float:
  """Returns the time of scoring alone: that of each step, added up."""
  search.start()
  seconds = 0.0
  while search.progress().num_active:
    seconds += timer.seconds(
      lambda: search.library(
        scorer.score_name, search.pointer, scorer.argument, None
      )
    )
    step = search.step()
    search.absorb(step.scores, step.capacity)
  return seconds


def _share(
  pairs_per_s: float,
  rows_per_s: float,
  kind: str,
  sizes: worlds.Sizes,
  limits: Ceilings | None,
) -> dict[str, float]:
  """Returns the parts of the ceilings that this takes, if they are known.

  Args:
    pairs_per_s: Scored.
    rows_per_s: Of item state, read from memory.
  """
  if limits is None:
    return {}
  number, uses_matrix_units = _KINDS[kind]
  operations = 2 * sizes.multiply_adds() * pairs_per_s
  most = limits.float16_per_s if uses_matrix_units else limits.float32_per_s
  bytes_of_number = 4 if number == scorers.FLOAT32 else 2
  moved = sizes.state_bytes(bytes_of_number) * rows_per_s
  return {
    "of_operations": operations / most,
    "of_bandwidth": moved / limits.bytes_per_s,
  }


def neural(
  library: cuda.Library, plan: Plan, limits: Ceilings | None
) -> Iterator[dict[str, Any]]:
  """Times searches and scans with the attention scorer."""
  sizes, timer = plan.sizes, Timer(library, plan.repeats)
  for num_rows in plan.items:
    graph = cuda.Graph(library, *worlds.make_levels(num_rows))
    for kind in plan.kinds:
      number, uses_matrix_units = _KINDS[kind]
      state = [
        worlds.make_state(library, num_rows, width, number, seed)
        for seed, width in enumerate([sizes.query_width, sizes.width])
      ]

      def scorer(
        num_users: int,
        state: list[cuda.Array] = state,
        number: int = number,
        uses: bool = uses_matrix_units,
      ) -> scorers.PairScorer:
        users, weights = worlds.make_users(num_users, sizes)
        return scorers.PairScorer(library, *state, users, weights, number, uses)

      policies = [
        _fit(graph, scorer(min(16, max(plan.batches))), wanted)
        for wanted in plan.scored
      ]
      for num_users in plan.batches:
        made = scorer(num_users)
        same = {"items": num_rows, "users": num_users, "state": kind}
        for policy in policies:
          row = _time_search(graph, policy, made, timer)
          pairs = row["pairs_per_s"]
          share = _share(pairs, pairs, kind, sizes, limits)
          yield {"what": "search", **same, **row, **share}
        scan = scorers.Scan(made, K)
        seconds = timer.seconds(scan.run)
        row = {
          "scored": num_rows,
          "seconds": seconds,
          "queries_per_s": num_users / seconds,
          "pairs_per_s": num_users * num_rows / seconds,
          "memory_bytes": scan.size_bytes,
        }
        # All users share a row that has been read.
        rows_per_s = num_rows / seconds
        share = _share(row["pairs_per_s"], rows_per_s, kind, sizes, limits)
        yield {"what": "exact scan", **same, **row, **share}


def _time_search(
  graph: cuda.Graph,
  policy: cuda.Paper | cuda.BestFirst,
  scorer: scorers.Scorer,
  timer: Timer,
) -> dict[str, Any]:
  search = _search(graph, policy, scorer.num_queries)
  scorers.walk(search, scorer)
  found = search.answers()
  seconds = timer.seconds(lambda: scorers.walk(search, scorer))
  scoring = _scoring_seconds(search, scorer, timer)
  scored = float(found.num_scored.sum(1).mean())
  return {
    "scored": scored,
    "steps": int((found.num_scored > 0).sum(1).max()),
    "num_faults": int((found.faults[:, 0] != 0).sum()),
    "seconds": seconds,
    "scoring_seconds": scoring,
    "walking_of_scoring": (seconds - scoring) / scoring,
    "queries_per_s": scorer.num_queries / seconds,
    "pairs_per_s": scored * scorer.num_queries / seconds,
    "memory_bytes": search.size_bytes,
    "visited_bytes_of_user": search.visited_bytes,
  }


def trivial(library: cuda.Library, plan: Plan) -> Iterator[dict[str, Any]]:
  """Times searches whose scorer costs next to nothing: eight numbers a row."""
  timer = Timer(library, plan.repeats)
  width = 8
  for num_rows in plan.items:
    graph = cuda.Graph(library, *worlds.make_levels(num_rows))
    rows = worlds.make_state(library, num_rows, width, scorers.FLOAT16, 5)
    for num_users in plan.batches:
      queries = np.random.default_rng(6).normal(size=(num_users, width))
      scorer = scorers.VectorScorer(
        library, rows, queries.astype(np.float32), False, scorers.FLOAT16
      )
      none = worlds.no_entries(num_users)
      search = cuda.Search(
        graph, _paper(1, num_rows), cuda.Queries(K, none, none)
      )

      def by_steps(
        search: cuda.Search = search, scorer: scorers.Scorer = scorer
      ) -> None:
        search.start()
        for _ in range(search.max_steps):
          scorers.score_step(search, scorer)
        search.finish()

      seconds = timer.seconds(by_steps)
      scored = float(search.answers().num_scored.sum(1).mean())
      yield {
        "what": "trivial scorer",
        "items": num_rows,
        "users": num_users,
        "state": "float16 x 8",
        "scored": scored,
        "seconds": seconds,
        "queries_per_s": num_users / seconds,
        "pairs_per_s": scored * num_users / seconds,
      }


def metric_queries(num_users: int) -> np.ndarray:
  """Returns vectors [B, METRIC_WIDTH] float32."""
  rng = np.random.default_rng(8)
  return rng.random((num_users, METRIC_WIDTH)).astype(np.float32)


def metric(library: cuda.Library, plan: Plan) -> Iterator[dict[str, Any]]:
  """Times searches under L2, a search a block from start to end."""
  timer = Timer(library, plan.repeats)
  for num_rows in plan.items:
    graph = cuda.Graph(library, *worlds.make_levels(num_rows))
    rows = worlds.make_state(
      library, num_rows, METRIC_WIDTH, scorers.FLOAT32, 7
    )
    for num_users in plan.batches:
      scorer = scorers.VectorScorer(
        library, rows, metric_queries(num_users), is_l2=True
      )
      entries = worlds.make_entries(num_users, num_rows, METRIC_ENTRIES)
      none = worlds.no_entries(num_users)
      search = cuda.Search(
        graph, METRIC_POLICY, cuda.Queries(METRIC_K, entries, none)
      )

      def one_go(
        search: cuda.Search = search, scorer: scorers.Scorer = scorer
      ) -> None:
        scorers.walk(search, scorer)

      seconds = timer.seconds(one_go)
      scored = float(search.answers().num_scored.sum(1).mean())
      yield {
        "what": "metric",
        "items": num_rows,
        "users": num_users,
        "state": "float32",
        "scored": scored,
        "seconds": seconds,
        "queries_per_s": num_users / seconds,
        "pairs_per_s": scored * num_users / seconds,
      }
