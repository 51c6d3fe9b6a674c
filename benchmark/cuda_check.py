"""Checks the search on a GPU and times it: one program for a GPU machine.

  python3 -m benchmark.cuda_check [--library FILE] [--json FILE]

Needs Python 3.10 and NumPy, no TensorFlow. The library is built first if nvcc
is there and no library is named; elsewhere bring one (`make cuda` on another
machine; build/cuda goes along). Ends with 1 if an answer is wrong. With
compute-sanitizer on the PATH, the C++ test runs under each of its tools.
"""

import argparse
import json
import pathlib
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from benchmark import cuda_library as cuda
from benchmark import cuda_timing as timing
from benchmark import cuda_world
from tests.ops.cuda import cases, pairs
from tests.ops.cuda import scorer_checks as checks

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / "build" / "cuda"
_COLUMNS = [
  ("what", "{}"),
  ("items", "{:,}"),
  ("state", "{}"),
  ("users", "{}"),
  ("scored", "{:,.0f}"),
  ("seconds", "{:.6f}"),
  ("queries_per_s", "{:,.0f}"),
  ("pairs_per_s", "{:.3g}"),
  ("of_operations", "{:.1%}"),
  ("of_bandwidth", "{:.1%}"),
  ("walking_of_scoring", "{:.0%}"),
]


def arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--library", type=pathlib.Path)
  parser.add_argument(
    "--json", type=pathlib.Path, default=FOLDER / "check.json"
  )
  parser.add_argument("--items", type=int, nargs="*")
  parser.add_argument("--scored", type=int, nargs="*")
  parser.add_argument("--users", type=int, nargs="*")
  parser.add_argument("--kinds", nargs="*", default=["float16", "float32"])
  parser.add_argument("--repeats", type=int, default=10)
  parser.add_argument("--worlds", type=int, default=200)
  parser.add_argument(
    "--small", action="store_true", help="a few seconds of work, for a test"
  )
  return parser.parse_args()


def build() -> pathlib.Path:
  """Builds the library for the GPU; an older one serves where nvcc is not."""
  library = FOLDER / "libnann_cuda.so"
  if shutil.which("nvcc") is not None:
    subprocess.run(
      [sys.executable, "setup.py", "--quiet", "build_cuda"],
      cwd=ROOT,
      check=True,
    )
  if not library.exists():
    raise SystemExit(
      f"{library} is not there, and neither is nvcc: run `make cuda` where it"
      " is and bring build/cuda"
    )
  return library


def check(library: cuda.Library, num_worlds: int) -> int:
  """Compares answers with the definition. Returns how many parts are wrong."""
  few = max(1, num_worlds // 10)
  parts: list[tuple[str, Callable[[], None]]] = [
    (
      "search, scores from the host",
      lambda: _check_search(library, num_worlds),
    ),
    ("metrics", lambda: _check_metrics(library, few)),
  ]
  for way in pairs.WAYS:
    parts.append(
      (f"pairs, {way}", lambda way=way: checks.check_pairs(library, way))
    )
    parts.append(
      (
        f"search of pairs, {way}",
        lambda way=way: checks.check_pair_search(library, way, few),
      )
    )
  num_wrong = 0
  for name, part in parts:
    begin = time.monotonic()
    try:
      part()
      outcome = "right"
    except (AssertionError, ValueError) as error:
      num_wrong += 1
      outcome = f"WRONG: {error}"
    print(f"{name}: {outcome} ({time.monotonic() - begin:.1f} s)", flush=True)
  return num_wrong


def _check_search(library: cuda.Library, num_worlds: int) -> None:
  draws = [cases.random_paper, cases.random_best_first]
  for options in cases.OPTIONS.values():
    for seed in range(num_worlds):
      for draw in draws:
        cases.check_host_scores(library, seed, seed % 2 == 0, draw, options)


def _check_metrics(library: cuda.Library, num_worlds: int) -> None:
  for kind in range(3):
    for width in [5, 64]:
      for seed in range(num_worlds):
        cases.check_metric(library, seed, seed % 3 == 0, kind, width)


def sanitize() -> list[dict[str, Any]]:
  """Runs the C++ test under compute-sanitizer, if both are there."""
  program = FOLDER / "search_test"
  sanitizer = shutil.which("compute-sanitizer")
  if sanitizer is None or not program.exists():
    print(f"compute-sanitizer: not run ({sanitizer=}, {program.exists()=})")
    return []
  results = []
  for tool in ["memcheck", "racecheck", "synccheck", "initcheck"]:
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", str(program)]
    done = subprocess.run(
      command,
      env={"NANN_NUM_WORLDS": "8"},
      capture_output=True,
      text=True,
      check=False,
    )
    print(f"compute-sanitizer {tool}: exit status {done.returncode}")
    if done.returncode:
      print((done.stdout + done.stderr)[-3000:])
    results.append({"tool": tool, "status": done.returncode})
  return results


def plan(options: argparse.Namespace) -> timing.Plan:
  if options.small:
    sizes = cuda_world.Sizes(16, 5, 32, (16,))
    return timing.Plan([3000], [300], [1, 2], 1, ["float16"], sizes, 2)
  return timing.Plan(
    options.items or [1_300_000, 4_160_000],
    options.scored or [17_000, 40_000],
    options.users or [1, 16, 64, 256],
    options.repeats,
    options.kinds,
    cuda_world.Sizes(),
    4096,
  )


def print_rows(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
  """Prints a table as it grows."""
  print("| " + " | ".join(name for name, _ in _COLUMNS) + " |")
  print("|" + " --- |" * len(_COLUMNS))
  kept = []
  for row in rows:
    cells = [
      form.format(row[name]) if name in row else "" for name, form in _COLUMNS
    ]
    print("| " + " | ".join(cells) + " |", flush=True)
    kept.append(row)
  return kept


def main() -> int:
  options = arguments()
  path = options.library or build()
  library = cuda.Library(path)
  if library.num_devices() == 0:
    print(f"no GPU: {library.loaded.NannCudaError().decode()}")
    return 2
  device = library.describe()
  print(
    f"{device.name.decode()}, compute capability {device.capability / 10},"
    f" {device.num_multiprocessors} multiprocessors,"
    f" {device.memory_bytes / 2**30:.1f} GiB"
  )
  num_wrong = check(library, options.worlds)
  sanitized = [] if options.small else sanitize()
  planned = plan(options)
  limits = timing.ceilings(library, planned)
  print(
    f"measured: {limits.bytes_per_s / 1e12:.2f} TB/s copied,"
    f" {limits.float32_per_s / 1e12:.1f} TFLOP/s float32,"
    f" {limits.float16_per_s / 1e12:.0f} TFLOP/s float16 in matrix units;"
    f" a pair is {2 * planned.sizes.multiply_adds():,} operations and"
    f" {planned.sizes.state_bytes(2):,} bytes of float16 item state"
  )
  rows = []
  for part in [
    timing.neural(library, planned, limits),
    timing.trivial(library, planned),
    timing.metric(library, planned),
  ]:
    rows += print_rows(part)
    # Whole after each part: the time on a lent machine may end.
    text = json.dumps(
      {
        "device": device.name.decode(),
        "host": platform.processor() or platform.machine(),
        "command": sys.argv,
        "num_wrong": num_wrong,
        "sanitizer": sanitized,
        "ceilings": limits._asdict(),
        "rows": rows,
      },
      indent=1,
    )
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(text + "\n")
  print(f"written to {options.json}; wrong parts: {num_wrong}")
  return int(num_wrong > 0 or any(each["status"] for each in sanitized))


if __name__ == "__main__":
  sys.exit(main())
