"""How the cost of a request grows with the corpus, at equal coverage.

Ours and its peers on one thread: both policies, the same without folding the
network, in stock TensorFlow ops, and the exact scan, folded and by a Keras
model's predict. Each policy takes the cheapest of its settings that reaches the
coverage. The corpora are made of one trained model's (see corpora.py).
"""

import argparse
import gc
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import corpora
import frozen
import harness
import neural_peers
import numpy as np
import trained_run

from nann import console
from nann.jobs import measuring
from nann.retrieval import metrics, tuning
from nann.retrieval import result as results
from nann.retrieval.retriever import Retriever

_PAPER = results.PaperPolicy((400, 200, 100), (3, 1, 1))
_MOST_STEPS = 64


def main() -> None:
  """Runs the benchmark."""
  parser = harness.parser(__doc__ or "")
  trained_run.add_arguments(parser)
  parser.add_argument(
    "--sizes",
    default="10000,100000,1000000",
    help="of the corpora",
  )
  parser.add_argument("--k", type=int, default=200)
  parser.add_argument("--coverage", type=float, default=0.975)
  parser.add_argument("--num-users", type=int, default=100)
  parser.add_argument("--repeats", type=int, default=3)
  arguments = parser.parse_args()
  run = trained_run.load(arguments)
  corpora_of_sizes = {}
  for size in map(int, arguments.sizes.split(",")):
    console.say(f"{size:,} items")
    retriever = corpora.of_size(run, size, arguments.k, seed=0)
    corpora_of_sizes[str(size)] = _measure(run, retriever, arguments)
  harness.report(
    f"a request on one thread by size of the corpus: {run.name}",
    {
      "k": arguments.k,
      "coverage_wanted": arguments.coverage,
      "num_users": arguments.num_users,
      "sizes": corpora_of_sizes,
    },
    arguments.json,
  )


def _measure(
  run: trained_run.TrainedRun,
  retriever: Retriever,
  arguments: argparse.Namespace,
) -> dict[str, Any]:
  k, repeats = arguments.k, arguments.repeats
  histories = run.data.held_out("test").histories
  chosen = np.random.default_rng(0).permutation(len(histories))
  histories = histories[chosen[: arguments.num_users]]
  exact = measuring.exact_rows(retriever, histories, k)
  few = histories[:10]
  methods: dict[str, Any] = {}
  for name, ladders in _ladders(retriever, k).items():
    best, points = tuning.cheapest(
      ladders,
      lambda policy: tuning.measure(retriever, policy, histories, exact),
      arguments.coverage,
    )
    best = best or max(points, key=lambda p: float(p.coverage.mean()))
    policy, num_scored = best.policy, float(best.evaluations.mean())
    methods[name] = _timed(
      lambda policy=policy: frozen.search_request(retriever, policy, k),
      histories,
      exact,
      repeats,
      num_scored,
    )
    if name == "best_first":
      methods["unfolded"] = _timed(
        lambda policy=policy: frozen.search_request(
          neural_peers.unfolded(retriever), policy, k
        ),
        few,
        exact,
        repeats,
        num_scored,
      )
      methods["stock_ops"] = _timed(
        lambda policy=policy: neural_peers.stock_request(retriever, policy, k),
        few,
        exact,
        repeats,
        num_scored,
      )
  size = float(len(retriever.items))
  methods["exact_folded"] = _timed(
    lambda: neural_peers.exact_request(retriever, k), few, exact, 1, size
  )
  methods["exact_keras"] = _timed(
    lambda: neural_peers.KerasScan(retriever, k), few[:3], exact, 1, size
  )
  return methods


def _ladders(retriever: Retriever, k: int) -> dict[str, Any]:
  assert retriever.index is not None
  start_level = retriever.index.hnsw.start_level
  return {
    "best_first": list(tuning.best_first_policies(k, _MOST_STEPS, 10**6)),
    "paper": list(
      tuning.paper_policies(k, _PAPER.widths, _PAPER.hops, start_level)
    ),
  }


def _timed(
  make: Callable[[], frozen.Request],
  histories: np.ndarray,
  exact: np.ndarray,
  repeats: int,
  num_scored: float,
) -> dict[str, float]:
  """Returns milliseconds with their quartiles over users, and coverage."""
  # A request may hold arrays of its own, and is part of a cycle.
  gc.collect()
  answers, times = frozen.run_all(make(), histories, repeats)
  per_user = 1e3 * np.median(times, axis=0)
  k = exact.shape[1]
  coverage = metrics.coverage(answers[0] + 1, exact[: len(histories)] + 1, k)
  return {
    "ms": float(np.median(per_user)),
    "ms_q1": float(np.percentile(per_user, 25)),
    "ms_q3": float(np.percentile(per_user, 75)),
    "coverage": float(coverage.mean()),
    "num_scored": num_scored,
  }


if __name__ == "__main__":
  main()
