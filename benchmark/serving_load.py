"""Job serve under load: throughput, overhead, overload, swaps, memory.

The server is a process of its own, the generator (serving_generator.py)
another. They share the processors, so a throughput is that of the share of them
that the generator left: answers/s * cores / (cores - generator's). In-process
search (a thread a core, the same exported version, no protocol) and the server
take turns, and a ratio is the median over the turns: machines drift.
"""

import argparse
import os
import pathlib
import shutil
import tempfile
import threading
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import harness
import numpy as np
import serving_memory
import tensorflow as tf
from serving_processes import (
  Server,
  Workload,
  finished,
  generate,
  generator_command,
  server_of,
  start,
)
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from nann import paths
from nann.serving import tensors
from nann.serving.call_limit import CallLimit
from nann.serving.model import Model
from nann.serving.signature import Limits

# Of each that runs at a time, one more waits: nobody is refused.
_CLIENTS_PER_CORE = 2
# Widths that score about 8,000 items of a catalogue of 50,000.
PAPER_WIDTHS = "100,200,300,300,300,200"
_STEADY_SHARE, _OVERLOAD, _SWAP_SHARE = 0.8, 3.0, 0.4


def main() -> None:
  """Runs the benchmark."""
  parser = harness.parser(__doc__ or "")
  parser.add_argument(
    "--versions", required=True, help="folder of exported versions"
  )
  parser.add_argument("--widths", default=PAPER_WIDTHS)
  parser.add_argument("--turns", type=int, default=5)
  parser.add_argument("--seconds", type=float, default=3.0, help="of a turn")
  parser.add_argument("--swaps", type=int, default=20)
  arguments = parser.parse_args()
  harness.report(
    f"serving of {arguments.versions}", _measure(arguments), arguments.json
  )


def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
  found = pathlib.Path(arguments.versions)
  newest = max(int(x.name) for x in found.iterdir() if x.name.isdigit())
  with tempfile.TemporaryDirectory(dir=found.parent) as text:
    folder = pathlib.Path(text)
    base_path = folder / "nann"
    _publish(found / str(newest), base_path, 1)
    model = Model(base_path / "1", 1)
    known = workloads(model, base_path / "1", arguments.widths, folder)
    figures: dict[str, Any] = {
      "generator": pathlib.Path(generator_command()[-1]).name
    }
    with server_of(base_path) as server:
      for policy, workload in known.items():
        figures |= _throughput(policy, workload, model, server, arguments)
      figures |= _overhead(known["best_first"], model, server, arguments)
      figures |= _overload(
        known["paper"], figures["paper_answers_per_s"], server, arguments
      )
      figures |= _swaps(
        known["best_first"],
        _SWAP_SHARE * figures["best_first_answers_per_s"],
        server,
        arguments.swaps,
      )
    model.close()
    del model
    with server_of(base_path, "--version-labels=old=1") as server:
      figures |= serving_memory.shared_pages(server.process.pid)
  return figures


def _publish(version: pathlib.Path, base_path: pathlib.Path, to: int) -> None:
  """Publishes a copy of a version whose arrays are the same files."""
  base_path.mkdir(exist_ok=True)
  temporary = base_path / f".{to}"
  shutil.copytree(version, temporary, copy_function=os.link)
  temporary.rename(base_path / str(to))


def workloads(
  model: Model, version: pathlib.Path, widths: str, folder: pathlib.Path
) -> dict[str, Workload]:
  """Makes requests of a real user out of those for the warm-up."""
  requests: dict[str, predict_pb2.PredictRequest] = {}
  file = str(version / paths.WARMUP_REQUESTS)
  for record in tf.data.TFRecordDataset(file).as_numpy_iterator():
    log = prediction_log_pb2.PredictionLog.FromString(record)
    request = log.predict_log.request
    is_whole = all(
      np.any(tensors.to_array(name, tensor))
      for name, tensor in request.inputs.items()
    )
    if is_whole:
      requests.setdefault(request.model_spec.signature_name, request)
  given = np.array([int(x) for x in widths.split(",")], np.int32)
  paper = requests["serving_default"]
  paper.inputs["level_topn"].CopyFrom(tensors.to_proto(given))
  found = {}
  for policy, request in (
    ("paper", paper),
    ("best_first", requests["retrieve"]),
  ):
    request.model_spec.name = "nann"
    path = folder / f"{policy}.request"
    path.write_bytes(request.SerializeToString())
    arrays = {
      name: tensors.to_array(name, tensor)
      for name, tensor in request.inputs.items()
    }
    known = model.signature(request.model_spec.signature_name)
    feeds = known.feeds(arrays, Limits(1 << 20, 1 << 20))
    found[policy] = Workload(known.name, feeds, path)
  return found


def in_process(
  model: Model, workload: Workload, num_threads: int, seconds: float
) -> tuple[float, float]:
  """Returns answers/s and the median ms of a request."""
  times: list[float] = []

  def run(end: float) -> None:
    while (begin := time.perf_counter()) < end:
      model.run(workload.signature, workload.feeds, CallLimit())
      times.append(time.perf_counter() - begin)

  begin = time.perf_counter()
  threads = [
    threading.Thread(target=run, args=(begin + seconds,))
    for _ in range(num_threads)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  rate = len(times) / (time.perf_counter() - begin)
  return rate, 1e3 * float(np.median(times))


def _throughput(
  policy: str,
  workload: Workload,
  model: Model,
  server: Server,
  arguments: argparse.Namespace,
) -> dict[str, Any]:
  cores = len(os.sched_getaffinity(0))
  in_process(model, workload, cores, 1.0)
  clients = _CLIENTS_PER_CORE * cores
  generate(server, workload, -clients, 1.0)
  inside, served, ratios, processor_ms = [], [], [], []
  for _ in range(arguments.turns):
    rate, _ = in_process(model, workload, cores, arguments.seconds)
    used = serving_memory.processor_seconds(server.process.pid)
    load = generate(server, workload, -clients, arguments.seconds)
    used = serving_memory.processor_seconds(server.process.pid) - used
    inside.append(rate)
    served.append(load.answers_per_s)
    ratios.append(load.answers_per_s / rate)
    processor_ms.append(1e3 * used / len(load.codes))
  return {
    f"{policy}_in_process_per_s": float(np.median(inside)),
    f"{policy}_answers_per_s": float(np.median(served)),
    f"{policy}_throughput_vs_in_process": float(np.median(ratios)),
    f"{policy}_throughput_ratios": [round(x, 3) for x in sorted(ratios)],
    f"{policy}_server_processor_ms": float(np.median(processor_ms)),
  }


def _overhead(
  workload: Workload,
  model: Model,
  server: Server,
  arguments: argparse.Namespace,
) -> dict[str, Any]:
  """One request at a time, through the server and without."""
  differences = []
  for _ in range(arguments.turns):
    _, inside_ms = in_process(model, workload, 1, 1.0)
    load = generate(server, workload, -1, 1.0)
    differences.append(load.percentile_ms(50) - inside_ms)
  return {"p50_overhead_ms": float(np.median(differences))}


def _overload(
  workload: Workload,
  capacity: float,
  server: Server,
  arguments: argparse.Namespace,
) -> dict[str, Any]:
  """Three times what the server can do, against 80 % of it.

  The generator takes its share of the processors here as well: it is little at
  these rates.
  """
  seconds = 2 * arguments.seconds
  ratios, shed, steady_shed, steady_ms, busy_ms = [], [], [], [], []
  for turn in range(arguments.turns):
    steady = generate(server, workload, _STEADY_SHARE * capacity, seconds, turn)
    busy = generate(server, workload, _OVERLOAD * capacity, seconds, turn)
    assert set(busy.codes) <= {"OK", "RESOURCE_EXHAUSTED"}, set(busy.codes)
    steady_ms.append(steady.percentile_ms(99))
    busy_ms.append(busy.percentile_ms(99))
    ratios.append(busy_ms[-1] / steady_ms[-1])
    shed.append(1 - busy.is_ok.mean())
    steady_shed.append(1 - steady.is_ok.mean())
  return {
    "overload_p99_ratio": float(np.median(ratios)),
    "overload_p99_ms": float(np.median(busy_ms)),
    "overload_shed_share": float(np.median(shed)),
    "steady_p99_ms": float(np.median(steady_ms)),
    "steady_shed_share": float(np.median(steady_shed)),
  }


def _swaps(
  workload: Workload, rate: float, server: Server, num_swaps: int
) -> dict[str, Any]:
  """Publishes versions one after the other under load."""
  # The first of each kind of thing fills pools.
  generate(server, workload, rate, 2.0)
  before = serving_memory.resident_bytes(server.process.pid)
  generator = start(server, workload, rate, 2.0 * num_swaps, 1)
  # As long as it takes the generator to connect.
  time.sleep(1.0)
  windows = []
  begin = time.perf_counter() - 0.5
  for version in range(2, num_swaps + 2):
    time.sleep(0.5)
    published = time.perf_counter() - begin
    _publish(server.base_path / str(version - 1), server.base_path, version)
    server.wait_for(f"version {version - 1} is unloaded")
    windows.append((published, time.perf_counter() - begin))
  load = finished(generator)
  in_swap = np.zeros(len(load.codes), bool)
  for begun, end in windows:
    in_swap |= (load.moments_s >= begun - 0.5) & (load.moments_s <= end + 0.5)
  latencies, is_ok = load.latencies_ms, load.is_ok
  steady_ms = float(np.percentile(latencies[is_ok & ~in_swap], 99))
  swap_ms = float(np.percentile(latencies[is_ok & in_swap], 99))
  after = serving_memory.resident_bytes(server.process.pid)
  return {
    "num_swaps": num_swaps,
    "swap_requests": int(in_swap.sum()),
    "swap_failures": int((~is_ok).sum()),
    "swap_seconds": float(np.mean([end - begun for begun, end in windows])),
    "swap_p99_ms": swap_ms,
    "swap_steady_p99_ms": steady_ms,
    "swap_p99_ratio": swap_ms / steady_ms,
    "rss_growth": after / before - 1,
  }


if __name__ == "__main__":
  main()
