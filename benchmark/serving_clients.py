"""An exported model at 1, 4 and 16 clients: in this process, and served.

The server is a process of its own on the same processors, and so is the load
generator; see serving_load.py for what of a throughput is the generator's.
Where nann_benchmark is built, it measures the same model in C++, on one thread
and on two in turns.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import harness
import numpy as np
import serving_load
import trained_run
from serving_processes import Workload, generate, server_of

from nann import config, ops, paths
from nann.benchmark import request_file
from nann.jobs import export
from nann.serving.model import Model

_CLIENTS = (1, 4, 16)
_FOLDER = pathlib.Path(__file__).parent


def main() -> None:
  """Runs the benchmark."""
  parser = harness.parser(__doc__ or "")
  trained_run.add_arguments(parser)
  parser.add_argument("--widths", default=serving_load.PAPER_WIDTHS)
  parser.add_argument("--turns", type=int, default=3)
  parser.add_argument("--seconds", type=float, default=2.0, help="of a turn")
  arguments = parser.parse_args()
  run = trained_run.load(arguments)
  with tempfile.TemporaryDirectory() as folder:
    exported = _exported(run, pathlib.Path(folder))
    request_file.write(exported, run.data.root, "retrieve", 500, seed=0)
    figures = {
      "num_items": run.num_items,
      "policies": _served(exported, arguments),
      "cpp": _in_cpp(exported, arguments),
    }
  harness.report(f"serving of {run.name}", figures, arguments.json)


def _exported(
  run: trained_run.TrainedRun, folder: pathlib.Path
) -> paths.ExportPaths:
  """Exports the run beside itself: nothing is written into it."""
  for part in run.output_root.iterdir():
    if part.name != "export":
      (folder / part.name).symlink_to(part.resolve())
  settings = config.config_from_values(
    {"output_root": str(folder), "dataset_dir": str(run.data.root)}
  )
  export.run(settings)
  return paths.OutputPaths(folder).export


def _served(
  exported: paths.ExportPaths, arguments: argparse.Namespace
) -> dict[str, Any]:
  version = exported.version(1)
  model = Model(version, 1)
  found: dict[str, Any] = {}
  with tempfile.TemporaryDirectory() as folder:
    workloads = serving_load.workloads(
      model, version, arguments.widths, pathlib.Path(folder)
    )
    with server_of(exported.versions) as server:
      for policy, workload in workloads.items():
        found[policy] = {
          str(clients): _at(model, workload, server, clients, arguments)
          for clients in _CLIENTS
        }
  return found


def _at(
  model: Model,
  workload: Workload,
  server: Any,
  clients: int,
  arguments: argparse.Namespace,
) -> dict[str, float]:
  """Measures in turns; each figure is the median of the turns."""
  seconds = arguments.seconds
  serving_load.in_process(model, workload, clients, 0.5)
  generate(server, workload, -clients, 0.5)
  turns = []
  for _ in range(arguments.turns):
    rate, p50_ms = serving_load.in_process(model, workload, clients, seconds)
    load = generate(server, workload, -clients, seconds)
    turns.append(
      {
        "in_process_per_s": rate,
        "in_process_p50_ms": p50_ms,
        "served_per_s": load.answers_per_s,
        "served_p50_ms": load.percentile_ms(50),
        "served_p99_ms": load.percentile_ms(99),
        "refused_share": float((~load.is_ok).mean()),
      }
    )
  return {
    name: float(np.median([turn[name] for turn in turns])) for name in turns[0]
  }


def _in_cpp(
  exported: paths.ExportPaths, arguments: argparse.Namespace
) -> dict[str, Any]:
  """Returns what nann_benchmark measures; nothing where it is not built."""
  program = _FOLDER / "build" / "nann_benchmark"
  if not program.exists():
    return {}
  version = exported.version(1)
  result = exported.root / "cpp.json"
  rates: dict[int, list[float]] = {1: [], 2: []}
  found: dict[str, Any] = {}
  for _ in range(max(arguments.turns, 3)):
    for threads, of_threads in rates.items():
      subprocess.run(
        [
          program,
          f"--saved_model={version}",
          f"--runmeta={exported.requests}",
          f"--op_library={ops.LIBRARY_PATH}",
          f"--bench_thread_count={threads}",
          f"--duration={arguments.seconds}",
          "--warm_up=0.5",
          "--name=nann",
          f"--json={result}",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
      )
      found = json.loads(result.read_text())["figures"]
      of_threads.append(found["models"]["nann"]["answers_per_s"])
  ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
  return {
    "one_thread_per_s": float(np.median(rates[1])),
    "two_threads_per_s": float(np.median(rates[2])),
    "two_thread_scaling": float(np.median(ratios)),
    "processor_ms_per_request": found["processor_ms_per_request"],
    "peak_rss_mb": found["peak_rss_mb"],
    "p99_ms_two_threads": found["models"]["nann"]["p99_ms"],
  }


if __name__ == "__main__":
  main()
