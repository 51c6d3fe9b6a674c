"""Puts any server that speaks TensorFlow Serving's gRPC under load.

It sends the requests that nann_benchmark takes, in the same two ways: in a
closed loop of some clients, or (--qps above 0) in an open loop, where a latency
counts from the moment at which the request was meant to go. In Python: Debian's
C++ gRPC brings another protobuf than TensorFlow's libraries, which read the
recorded file, and the two do not live in one program.
"""

import os
import resource
import sys
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import harness
import numpy as np
import serving_generator
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

_PERCENTILES = {"p50_ms": 50, "p90_ms": 90, "p99_ms": 99, "p99_9_ms": 99.9}
_SHED = "RESOURCE_EXHAUSTED"


def main() -> int:
  """Runs the load. Returns 1 if there were errors."""
  parser = harness.parser(__doc__ or "")
  parser.add_argument("requests", help="TFRecord of PredictionLog")
  parser.add_argument("--grpc", required=True, metavar="HOST:PORT")
  parser.add_argument("--model", default="nann", help="name on the server")
  parser.add_argument("--signature-key", help="only requests to this signature")
  parser.add_argument("--qps", type=float, default=-1.0)
  parser.add_argument("--clients", type=int, default=4, help="closed loop")
  parser.add_argument("--duration", type=float, default=10.0)
  parser.add_argument("--warm-up", type=float, default=2.0)
  parser.add_argument("--seed", type=int, default=0)
  arguments = parser.parse_args()
  if not tf.io.gfile.exists(arguments.requests):
    parser.error(
      f"{arguments.requests} is not there; gen_runmeta.py writes one"
    )
  if arguments.qps <= 0 and arguments.qps != -1:
    parser.error(f"--qps is {arguments.qps:g}, wanted a number above 0, or -1")
  if arguments.clients < 1 or arguments.duration <= 0 or arguments.warm_up < 0:
    parser.error("--clients, --duration and --warm-up are not below 0 or 0")
  requests = read_requests(
    arguments.requests, arguments.model, arguments.signature_key
  )
  if not requests:
    parser.error(f"{arguments.requests} holds no such request")
  seconds = arguments.warm_up + arguments.duration
  if arguments.qps > 0:
    done = serving_generator.open_loop(
      arguments.grpc, requests, arguments.qps, seconds, arguments.seed
    )
  else:
    done = serving_generator.closed_loop(
      arguments.grpc, requests, arguments.clients, seconds
    )
  figures = figures_of(done, arguments.warm_up)
  harness.report(f"load on {arguments.grpc}", figures, arguments.json)
  return int(figures["errors"] > 0)


def read_requests(
  path: str, model: str, signature: str | None = None
) -> list[bytes]:
  """Reads recorded requests.

  Args:
    path: A TFRecord of PredictionLog.
    model: The name that the server knows the model by.
    signature: Only these; None: all.
  """
  requests = []
  for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
    log = prediction_log_pb2.PredictionLog.FromString(record)
    request = log.predict_log.request
    name = request.model_spec.signature_name
    if signature in (None, name):
      # The newest version, whichever it was recorded for.
      request.model_spec.Clear()
      request.model_spec.name = model
      request.model_spec.signature_name = name
      requests.append(request.SerializeToString())
  return requests


def figures_of(
  done: list[tuple[float, float, str]], warm_up: float
) -> dict[str, Any]:
  """Describes the requests that were due after the warm-up.

  Args:
    done: Moment, latency and code of each request, in seconds.
    warm_up: Seconds that do not count.
  """
  counted = [one for one in done if one[0] >= warm_up]
  codes = np.array([code for _, _, code in counted])
  ends = [moment + latency for moment, latency, _ in counted]
  seconds = max(ends, default=warm_up) - warm_up
  is_ok, is_shed = codes == "OK", codes == _SHED
  latencies_ms = 1e3 * np.array([one[1] for one in counted])[is_ok]
  used = resource.getrusage(resource.RUSAGE_SELF)
  figures: dict[str, Any] = {
    "answers_per_s": float(is_ok.sum() / seconds) if seconds else 0.0,
    "answers": int(is_ok.sum()),
    "errors": int((~is_ok & ~is_shed).sum()),
    "shed": int(is_shed.sum()),
    "generator_peak_rss_mb": used.ru_maxrss / 1e3,
  }
  if len(latencies_ms):
    figures["mean_ms"] = float(latencies_ms.mean())
    for name, percent in _PERCENTILES.items():
      figures[name] = float(np.percentile(latencies_ms, percent))
    figures["max_ms"] = float(latencies_ms.max())
  first_errors = codes[~is_ok & ~is_shed]
  if len(first_errors):
    figures["first_error"] = str(first_errors[0])
  return figures


if __name__ == "__main__":
  sys.exit(main())
