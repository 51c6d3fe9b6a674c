"""Search under filters: coverage and cost by share of the items allowed.

Each user gets a random filter. The exact answer is that of a scan of what the
filter lets through. The last figures are the constants of
nann/retrieval/cost_model.py, measured.
"""

import argparse
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import harness
import numpy as np
import tensorflow as tf
import trained_run

from nann.retrieval import answering, brute_force, cost_model
from nann.retrieval import result as results

_SHARES = (1.0, 0.5, 0.1, 0.01, 0.001)


def main() -> None:
  """Runs the benchmark."""
  parser = harness.parser(__doc__ or "")
  trained_run.add_arguments(parser)
  parser.add_argument("--k", type=int, default=200)
  parser.add_argument("--ef", type=int, default=250)
  parser.add_argument("--width", type=int, default=32)
  parser.add_argument("--num-users", type=int, default=100)
  arguments = parser.parse_args()
  tf.config.threading.set_intra_op_parallelism_threads(1)
  tf.config.threading.set_inter_op_parallelism_threads(1)
  run = trained_run.load(arguments)
  harness.report(
    f"filters: {run.name}, {run.num_items:,} items",
    _measure(run, arguments),
    arguments.json,
  )


def _measure(
  run: trained_run.TrainedRun, arguments: argparse.Namespace
) -> dict[str, Any]:
  retriever, k = run.retriever, arguments.k
  histories = run.data.held_out("test").histories[: arguments.num_users]
  policy = results.BestFirstPolicy(arguments.ef, arguments.width, 1000, 10**7)
  figures: dict[str, Any] = {"num_items": run.num_items}
  walked: dict[float, float] = {}
  costs: list[float] = []
  for share in _SHARES:
    allowed = _random_filters(len(histories), run.num_items, share)
    exact = results.concatenate(
      list(brute_force.exact_search(retriever, histories, k, allowed=allowed))
    )
    found = results.concatenate(
      list(retriever.search(histories, policy, k, allowed=allowed))
    )
    walked[share] = float(found.total_scored.mean())
    times = {
      name: _median_seconds(search, histories, allowed)
      for name, search in {
        "walk": lambda h, a: retriever.search(h, policy, k, allowed=a),
        "scan": lambda h, a: brute_force.exact_search(
          retriever, h, k, allowed=a
        ),
      }.items()
    }
    if share == 1.0:
      # Without a filter to unpack, a scan reads memory in order.
      scan = _median_seconds(
        lambda h, a: brute_force.exact_search(retriever, h, k),
        histories,
        allowed,
      )
      costs.append(times["walk"] / walked[share] / (scan / run.num_items))
    plan = answering.Plan("auto", policy, cost_model.CostModel(walked[1.0]))
    scans = answering.uses_scan(plan, run.num_items, len(histories), allowed)
    label = f"{100 * share:g}"
    figures |= {
      f"coverage_at_{label}_percent": _coverage(found.rows, exact.rows),
      f"num_scored_at_{label}_percent": walked[share],
      f"walk_ms_at_{label}_percent": 1e3 * times["walk"],
      f"scan_ms_at_{label}_percent": 1e3 * times["scan"],
      f"auto_scans_at_{label}_percent": float(scans.mean()),
    }
  free = [s for s in _SHARES if walked[s] < 0.5 * run.num_items]
  slope = np.polyfit(np.log(free), np.log([walked[s] for s in free]), 1)[0]
  return figures | {
    "filter_exponent": -float(slope),
    "walk_cost": costs[0],
  }


def _random_filters(num_users: int, num_items: int, share: float) -> np.ndarray:
  rng = np.random.default_rng(0)
  mask = rng.random((num_users, num_items)) < share
  return np.packbits(mask, axis=1, bitorder="little")


def _coverage(found: np.ndarray, exact: np.ndarray) -> float:
  """Returns the mean share of the exact answers, which may be fewer than k."""
  return float(
    np.mean(
      [
        len(np.intersect1d(a[a >= 0], b[b >= 0])) / max(1, (b >= 0).sum())
        for a, b in zip(found, exact, strict=True)
      ]
    )
  )


def _median_seconds(
  search: Any, histories: np.ndarray, allowed: np.ndarray
) -> float:
  """Returns the median seconds of one user's query."""

  def ask(user: int) -> None:
    for _ in search(histories[user : user + 1], allowed[user : user + 1]):
      pass

  ask(0)
  times = [
    harness.seconds_of(lambda: ask(user), 1, 0)[0]  # noqa: B023
    for user in range(min(30, len(histories)))
  ]
  return float(np.median(times))


if __name__ == "__main__":
  main()
