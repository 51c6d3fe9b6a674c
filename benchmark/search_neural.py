"""A whole request under a neural scorer: milliseconds, and share of the bound.

A request is a user's history, the answer the 200 best items: user side, walk,
gather, scoring and top k, as a frozen graph on one thread. The bound is the
time of the multiply-adds that the scorer needed, at the rate of one large
matrix product in OpenBLAS on one thread in the same run.
"""

import argparse
import dataclasses
import os
import pathlib
import threading
import time
from typing import Any

# Read when the libraries load. OpenBLAS takes a CPU that it does not know for
# an older one, which would make the bound too easy.
os.environ.update(
  {"OPENBLAS_CORETYPE": "SKYLAKEX"}
  if "avx512f" in pathlib.Path("/proc/cpuinfo").read_text()
  else {}
)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import frozen
import harness
import neural_peers
import numpy as np
import tensorflow as tf
import trained_run

from nann import ops
from nann.jobs import measuring
from nann.model.scorer import PairNetwork
from nann.retrieval import entries, metrics
from nann.retrieval import result as results

_PAPER = results.PaperPolicy((400, 200, 100), (3, 1, 1))
_USER_MULTIPLY_ADDS = 64 * 128 + 128 * 129 + 64 * 128
_NUM_STOCK_USERS = 30


def main() -> None:
  """Runs the benchmark."""
  parser = harness.parser(__doc__ or "")
  trained_run.add_arguments(parser)
  parser.add_argument("--k", type=int, default=200)
  parser.add_argument("--ef", type=int, default=200)
  parser.add_argument("--width", type=int, default=16)
  parser.add_argument("--num-entries", type=int, default=64)
  parser.add_argument("--num-users", type=int, default=500)
  parser.add_argument("--repeats", type=int, default=5)
  arguments = parser.parse_args()
  tf.config.threading.set_intra_op_parallelism_threads(1)
  run = trained_run.load(arguments)
  harness.report(
    f"a request on one thread: {run.name}, {run.num_items:,} items",
    _measure(run, arguments),
    arguments.json,
  )


def _measure(
  run: trained_run.TrainedRun, arguments: argparse.Namespace
) -> dict[str, Any]:
  k = arguments.k
  histories = run.data.held_out("test").histories
  rng = np.random.default_rng(0)
  chosen = rng.permutation(len(histories))[: arguments.num_users]
  histories = histories[chosen]
  best_first = results.BestFirstPolicy(
    arguments.ef, arguments.width, 64, 100_000
  )
  assert run.retriever.index is not None
  start_level = run.retriever.index.hnsw.start_level
  answers = measuring.answers_to_training_users(
    run.retriever, run.data, arguments.num_users, histories.shape[1], k, seed=0
  )
  frequent = entries.frequent_answers(answers, arguments.num_entries)
  run = dataclasses.replace(run, retriever=run.retriever.with_entries(frequent))
  policies: dict[str, results.Policy] = {
    "paper": _PAPER.for_start_level(start_level),
    "best_first": best_first,
  }
  exact = measuring.exact_rows(run.retriever, histories, k)
  rate = _sgemm_multiply_adds_per_s()
  figures: dict[str, Any] = {
    "num_items": run.num_items,
    "num_users": len(histories),
    "sgemm_gflops": 2e-9 * rate,
    "openblas_coretype": os.environ.get("OPENBLAS_CORETYPE", "its choice"),
  }
  for name, policy in policies.items():
    request = frozen.search_request(run.retriever, policy, k)
    found, times = frozen.run_all(request, histories, arguments.repeats)
    num_scored = found[2].sum(axis=1)
    needed = _multiply_adds(run, histories, num_scored)
    coverage = metrics.coverage(found[0] + 1, exact + 1, k)
    per_user = np.median(times, axis=0)
    figures |= {
      f"{name}_ms": 1e3 * float(np.median(per_user)),
      f"{name}_mean_ms": 1e3 * float(per_user.mean()),
      f"{name}_p99_ms": 1e3 * float(np.percentile(times, 99)),
      f"{name}_spread_ms": 1e3 * float(np.median(times, axis=1).std()),
      f"{name}_num_scored": float(num_scored.mean()),
      f"{name}_coverage": float(coverage.mean()),
      f"{name}_coverage_p5": float(np.percentile(coverage, 5)),
      f"{name}_coverage_min": float(coverage.min()),
      f"bound_fraction_{name}": float(needed.sum() / rate / per_user.sum()),
    }
    if name == "best_first":
      figures["two_thread_scaling"] = _two_thread_scaling(request, histories)
      figures["single_thread_requests_per_s"] = float(1 / per_user.mean())
    stock_ms = frozen.median_ms(
      neural_peers.stock_request(run.retriever, policy, k),
      histories[:_NUM_STOCK_USERS],
      3,
    )
    figures[f"stock_ops_{name}_ms"] = stock_ms
    figures[f"speedup_vs_stock_ops_{name}"] = stock_ms / figures[f"{name}_ms"]
  # Of the default policy. Policy paper spends its time in the products, which
  # both do at about the same rate.
  figures["speedup_vs_stock_ops"] = figures["speedup_vs_stock_ops_best_first"]
  return figures | _hop_overhead()


def _two_thread_scaling(
  request: frozen.Request, histories: np.ndarray
) -> float:
  """Returns requests/s of two threads over that of one; best of several."""

  def all_users() -> None:
    for history in histories:
      request(history[None])

  def seconds(num_threads: int) -> float:
    threads = [threading.Thread(target=all_users) for _ in range(num_threads)]
    begin = time.perf_counter()
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    return time.perf_counter() - begin

  ratios = [2 * seconds(1) / seconds(2) for _ in range(9)]
  return float(np.median(ratios))


def _multiply_adds(
  run: trained_run.TrainedRun, histories: np.ndarray, num_scored: np.ndarray
) -> np.ndarray:
  """Returns [n]: multiply-adds of the folded network for each request."""
  lengths = np.maximum((histories > 0).sum(axis=1), 1)
  network = run.retriever.scorer.parts().network
  assert isinstance(network, PairNetwork)
  kernels = sum(int(np.prod(kernel.shape)) for kernel in network.kernels)
  width = int(network.slopes[0].shape[0])
  pair = 2 * width * lengths + kernels + int(network.out.shape[0])
  return num_scored * pair + lengths * _USER_MULTIPLY_ADDS


def _sgemm_multiply_adds_per_s() -> float:
  size = 1024
  rng = np.random.default_rng(0)
  a, b = (rng.random((size, size), dtype=np.float32) for _ in range(2))
  seconds = float(np.median(harness.seconds_of(lambda: a @ b, 15, 3)))
  return size**3 / seconds


def _hop_overhead() -> dict[str, float]:
  """Times the op with a scorer of one small op, over long walks.

  Chains of hops with few and with many candidates; a straight line through both
  gives the cost of a hop and of a candidate.
  """
  costs = {}
  for degree in (1, 64):
    num_hops, num_rows = 2000, 200_000
    request = _walk_request(num_rows, degree, num_hops)
    seconds = np.median(
      harness.seconds_of(lambda: request(np.zeros([1, 1], np.int32)), 15, 3)  # noqa: B023
    )
    costs[degree] = 1e6 * float(seconds) / num_hops
  per_candidate = (costs[64] - costs[1]) / 63
  return {
    "hop_overhead_us": costs[1] - per_candidate,
    "candidate_overhead_ns": 1e3 * per_candidate,
  }


def _walk_request(num_rows: int, degree: int, num_hops: int) -> frozen.Request:
  """A walk that expands one row at a step and meets `degree` new ones."""
  rng = np.random.default_rng(0)
  order = rng.permutation(num_rows).astype(np.int32)
  place = np.empty(num_rows, np.int64)
  place[order] = np.arange(num_rows)
  # The row at place p leads to the next places; the farthest is the best.
  first = place // degree * degree + degree
  neighbors = order[
    np.minimum(first[:, None] + np.arange(degree), num_rows - 1)
  ]
  values = tf.constant(neighbors.ravel())
  row_splits = tf.constant(np.arange(num_rows + 1, dtype=np.int64) * degree)
  state = tf.constant(
    np.stack([place, place, place, place], axis=1).astype(np.float32)
  )

  @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int32)])
  def request(number: tf.Tensor) -> ops.Found:
    return ops.beam_search(
      [(values, row_splits)],
      tf.constant(order[:1]),
      lambda user, items: tf.reduce_sum(items, axis=-1),
      tf.zeros([1, 1]),
      state,
      number + order[0],
      number[:, :0],
      10,
      limits=tf.constant([10, 1, num_hops, 10**9], tf.int64),
    )

  return frozen.callable_of(request)


if __name__ == "__main__":
  main()
