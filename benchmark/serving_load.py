"""Job serve under load: throughput, overhead, overload, swaps, memory.

The server is a process of its own, the generator (serving_generator.py)
another. They share the processors, so a throughput is that of the share of them
that the generator left: answers/s * cores / (cores - generator's). In-process
search (a thread a core, the same exported version, no protocol) and the server
take turns, and a ratio is the median over the turns: machines drift.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import harness
import numpy as np
import serving_memory
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from nann import paths
from nann.serving import tensors
from nann.serving.call_limit import CallLimit
from nann.serving.model import Model
from nann.serving.signature import Limits

_FOLDER = pathlib.Path(__file__).parent
# Of each that runs at a time, one more waits: nobody is refused.
_CLIENTS_PER_CORE = 2
# Widths that score about 8,000 items of a catalogue of 50,000.
_PAPER_WIDTHS = (100, 200, 300, 300, 300, 200)
_STEADY_SHARE, _OVERLOAD, _SWAP_SHARE = 0.8, 3.0, 0.4


def main() -> None:
  """Runs the benchmark."""
  parser = harness.parser(__doc__ or "")
  parser.add_argument(
    "--versions", required=True, help="folder of exported versions"
  )
  parser.add_argument("--widths", default=",".join(map(str, _PAPER_WIDTHS)))
  parser.add_argument("--turns", type=int, default=5)
  parser.add_argument("--seconds", type=float, default=3.0, help="of a turn")
  parser.add_argument("--swaps", type=int, default=20)
  arguments = parser.parse_args()
  harness.report(
    f"serving of {arguments.versions}", _measure(arguments), arguments.json
  )


@dataclasses.dataclass(frozen=True)
class Workload:
  """A request, ready to be sent and ready to be run.

  Attributes:
    signature: Its name.
    feeds: For `Model.run`.
    file: The request as bytes.
  """

  signature: str
  feeds: list[np.ndarray]
  file: pathlib.Path


def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
  found = pathlib.Path(arguments.versions)
  newest = max(int(x.name) for x in found.iterdir() if x.name.isdigit())
  with tempfile.TemporaryDirectory(dir=found.parent) as text:
    folder = pathlib.Path(text)
    base_path = folder / "nann"
    _publish(found / str(newest), base_path, 1)
    model = Model(base_path / "1", 1)
    workloads = _workloads(model, base_path / "1", arguments.widths, folder)
    figures: dict[str, Any] = {}
    with _server(base_path) as server:
      for policy, workload in workloads.items():
        figures |= _throughput(policy, workload, model, server, arguments)
      figures |= _overhead(workloads["best_first"], model, server, arguments)
      figures |= _overload(
        workloads["paper"], figures["paper_answers_per_s"], server, arguments
      )
      figures |= _swaps(
        workloads["best_first"],
        _SWAP_SHARE * figures["best_first_answers_per_s"],
        server,
        arguments.swaps,
      )
    model.close()
    del model
    with _server(base_path, "--version-labels=old=1") as server:
      figures |= serving_memory.shared_pages(server.process.pid)
  return figures


def _publish(version: pathlib.Path, base_path: pathlib.Path, to: int) -> None:
  """Publishes a copy of a version whose arrays are the same files."""
  base_path.mkdir(exist_ok=True)
  temporary = base_path / f".{to}"
  shutil.copytree(version, temporary, copy_function=os.link)
  temporary.rename(base_path / str(to))


def _workloads(
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


@dataclasses.dataclass(frozen=True)
class Server:
  """A server that runs.

  Attributes:
    process: Its process.
    target: host:port of its gRPC.
    base_path: What it serves.
    lines: What it has said.
  """

  process: subprocess.Popen
  target: str
  base_path: pathlib.Path
  lines: list[str]

  def wait_for(self, text: str) -> None:
    """Returns when the server has said something."""
    while not any(text in line for line in self.lines):
      if self.process.poll() is not None:
        raise RuntimeError("the server ended: " + "".join(self.lines))
      time.sleep(0.005)


@contextlib.contextmanager
def _server(base_path: pathlib.Path, *flags: str) -> Iterator[Server]:
  process = subprocess.Popen(
    [
      *(sys.executable, "main.py", "--job-type=serve"),
      *(f"--model-base-path={base_path}", "--port=0", "--rest-port=-1"),
      *("--noaccess-log", "--poll-interval-s=0.05", *flags),
    ],
    cwd=_FOLDER.parent,
    stderr=subprocess.PIPE,
    text=True,
  )
  lines: list[str] = []
  assert process.stderr is not None
  reader = threading.Thread(target=lines.extend, args=(process.stderr,))
  reader.daemon = True
  reader.start()
  server = Server(process, "", base_path, lines)
  try:
    server.wait_for("is served")
    said = next(line for line in lines if "is served" in line)
    target = re.search(r"gRPC at (\S+?)[,;]", said)
    assert target is not None, said
    yield dataclasses.replace(server, target=target[1])
  finally:
    process.send_signal(signal.SIGTERM)
    process.wait(60)


@dataclasses.dataclass(frozen=True)
class Load:
  """How the requests of a generator went.

  Attributes:
    seconds: How long it ran.
    generator_cores: Processors that it used.
    codes: [n] of each request.
    moments_s: [n] when it was meant to go.
    latencies_ms: [n] until the answer or the refusal.
  """

  seconds: float
  generator_cores: float
  codes: np.ndarray
  moments_s: np.ndarray
  latencies_ms: np.ndarray

  @property
  def is_ok(self) -> np.ndarray:
    return self.codes == "OK"

  @property
  def answers_per_s(self) -> float:
    """At the share of the processors that the generator left."""
    cores = len(os.sched_getaffinity(0))
    share = (cores - self.generator_cores) / cores
    return float(self.is_ok.sum() / self.seconds / share)

  def percentile_ms(self, percent: float) -> float:
    return float(np.percentile(self.latencies_ms[self.is_ok], percent))


def _generate(
  server: Server, workload: Workload, rate: float, seconds: float, seed: int = 0
) -> Load:
  return _finished(_start(server, workload, rate, seconds, seed))


def _start(
  server: Server, workload: Workload, rate: float, seconds: float, seed: int = 0
) -> subprocess.Popen:
  return subprocess.Popen(
    [
      *(sys.executable, str(_FOLDER / "serving_generator.py"), server.target),
      *(str(workload.file), str(rate), str(seconds), str(seed)),
    ],
    stdout=subprocess.PIPE,
    text=True,
  )


def _finished(generator: subprocess.Popen) -> Load:
  text, _ = generator.communicate()
  content = json.loads(text)
  latencies = np.array(content["latencies_ms"])
  moments = np.array(content["moments_s"])
  seconds = float((moments + latencies / 1e3).max())
  return Load(
    seconds,
    content["processor_s"] / content["seconds"],
    np.array(content["codes"]),
    moments,
    latencies,
  )


def _in_process(
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
  _in_process(model, workload, cores, 1.0)
  clients = _CLIENTS_PER_CORE * cores
  _generate(server, workload, -clients, 1.0)
  inside, served, ratios, processor_ms = [], [], [], []
  for _ in range(arguments.turns):
    rate, _ = _in_process(model, workload, cores, arguments.seconds)
    used = serving_memory.processor_seconds(server.process.pid)
    load = _generate(server, workload, -clients, arguments.seconds)
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
    _, inside_ms = _in_process(model, workload, 1, 1.0)
    load = _generate(server, workload, -1, 1.0)
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
    steady = _generate(
      server, workload, _STEADY_SHARE * capacity, seconds, turn
    )
    busy = _generate(server, workload, _OVERLOAD * capacity, seconds, turn)
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
  _generate(server, workload, rate, 2.0)
  before = serving_memory.resident_bytes(server.process.pid)
  generator = _start(server, workload, rate, 2.0 * num_swaps, 1)
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
  load = _finished(generator)
  in_swap = np.zeros(len(load.codes), bool)
  for start, end in windows:
    in_swap |= (load.moments_s >= start - 0.5) & (load.moments_s <= end + 0.5)
  latencies, is_ok = load.latencies_ms, load.is_ok
  steady_ms = float(np.percentile(latencies[is_ok & ~in_swap], 99))
  swap_ms = float(np.percentile(latencies[is_ok & in_swap], 99))
  after = serving_memory.resident_bytes(server.process.pid)
  return {
    "num_swaps": num_swaps,
    "swap_requests": int(in_swap.sum()),
    "swap_failures": int((~is_ok).sum()),
    "swap_seconds": float(np.mean([end - start for start, end in windows])),
    "swap_p99_ms": swap_ms,
    "swap_steady_p99_ms": steady_ms,
    "swap_p99_ratio": swap_ms / steady_ms,
    "rss_growth": after / before - 1,
  }


if __name__ == "__main__":
  main()
