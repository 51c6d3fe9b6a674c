"""The metric search of `benchmark.cuda_timing` on the CPU, for comparison.

  python -m benchmark.cuda_metric_cpu [--items N]

Needs no GPU: the same graph, numbers and settings, through nann._core.
"""

import argparse
import os
import time

import numpy as np

from benchmark import cuda_timing as timing
from benchmark import cuda_world as worlds
from nann import _core

_NUM_USERS = 256


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--items", type=int, default=1_300_000)
  options = parser.parse_args()
  num_rows, width = options.items, timing.METRIC_WIDTH
  levels, entries = worlds.make_levels(num_rows)
  graph = _core.Graph(levels, entries)
  # The numbers of the GPU's table: see worlds.state_parts.
  rows = np.concatenate(list(worlds.state_parts(num_rows, width, 7)))
  queries = timing.metric_queries(_NUM_USERS)
  none = worlds.no_entries(_NUM_USERS)
  batch = _core.Batch(
    policy=_core.BestFirstPolicy(*timing.METRIC_POLICY),
    k=timing.METRIC_K,
    expand=worlds.make_entries(_NUM_USERS, num_rows, timing.METRIC_ENTRIES),
    only_score=none,
    allowed=np.zeros((0, 0), np.uint8),
    denied=none,
  )
  scorer = _core.VectorScorer(rows, queries, "l2")
  for num_threads in [1, os.cpu_count() or 1]:
    times = []
    for _ in range(5):
      begin = time.perf_counter()
      _, _, num_scored = graph.search_vectors(scorer, batch, num_threads)
      times.append(time.perf_counter() - begin)
    print(
      f"{num_rows:,} items, {num_threads} threads:"
      f" {_NUM_USERS / sorted(times)[2]:,.0f} queries/s,"
      f" {num_scored.sum(1).mean():,.0f} scored"
    )


if __name__ == "__main__":
  main()
