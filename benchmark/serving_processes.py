"""The processes of the benchmark of serving: the server and its generator."""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np

_FOLDER = pathlib.Path(__file__).parent
# By `make benchmark`, where gRPC's C++ library is installed.
_COMPILED_GENERATOR = _FOLDER / "build" / "grpc_generator"


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
def server_of(base_path: pathlib.Path, *flags: str) -> Iterator[Server]:
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
  found = Server(process, "", base_path, lines)
  try:
    found.wait_for("is served")
    said = next(line for line in lines if "is served" in line)
    target = re.search(r"gRPC at (\S+?)[,;]", said)
    assert target is not None, said
    yield dataclasses.replace(found, target=target[1])
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


def generator_command() -> list[str]:
  """Returns what starts the generator: the compiled one where it is built."""
  if _COMPILED_GENERATOR.exists():
    return [str(_COMPILED_GENERATOR)]
  return [sys.executable, str(_FOLDER / "serving_generator.py")]


def generate(
  server: Server, workload: Workload, rate: float, seconds: float, seed: int = 0
) -> Load:
  return finished(start(server, workload, rate, seconds, seed))


def start(
  server: Server, workload: Workload, rate: float, seconds: float, seed: int = 0
) -> subprocess.Popen:
  return subprocess.Popen(
    [
      *generator_command(),
      *(server.target, str(workload.file), str(rate), str(seconds), str(seed)),
    ],
    stdout=subprocess.PIPE,
    text=True,
  )


def finished(generator: subprocess.Popen) -> Load:
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
