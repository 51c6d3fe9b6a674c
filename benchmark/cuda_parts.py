"""The parts of `benchmark.cuda_check`, each run in a process of its own.

A part fills a result that its process saves as it goes: what was measured
before a failure is kept.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmark import cuda_library as cuda
from benchmark import cuda_timing as timing
from benchmark import cuda_world
from tests.ops.cuda import cases, pairs
from tests.ops.cuda import scorer_checks as checks

ANSWERS, SANITIZER, CEILINGS = "answers", "sanitizer", "ceilings"
_TOOLS = ["none", "memcheck", "racecheck", "synccheck", "initcheck"]
# Where CUDA puts its programs, on the PATH or not.
_FOLDERS = [
  "/usr/local/cuda/bin",
  "/usr/local/cuda/compute-sanitizer",
  "/opt/cuda/bin",
]
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

Result = dict[str, Any]
Save = Callable[[], None]


def find_program(name: str) -> str | None:
  """Returns the path of one of CUDA's programs, if it is there."""
  folders = os.pathsep.join([os.environ.get("PATH", ""), *_FOLDERS])
  return shutil.which(name, path=folders)


def plan(options: argparse.Namespace) -> timing.Plan:
  """Returns what is to be timed."""
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


def names(options: argparse.Namespace) -> list[str]:
  """Returns the parts in the order of their worth, should the time end."""
  planned = plan(options)
  found = [ANSWERS, CEILINGS]
  for kind in planned.kinds:
    found += [f"search {number} {kind}" for number in planned.items]
  for what in ("trivial", "metric"):
    found += [f"{what} {number}" for number in planned.items]
  return found if options.small else [*found, SANITIZER]


def run(
  name: str,
  library: cuda.Library,
  options: argparse.Namespace,
  limits: timing.Ceilings | None,
  result: Result,
  save: Save,
) -> bool:
  """Runs a part. Returns whether all was right.

  Args:
    name: One of `names`.
    library: Of the GPU.
    options: Of the command line.
    limits: What the device can do, if that is known.
    result: What was found is put here.
    save: Called whenever there is more.
  """
  if name == ANSWERS:
    result["num_wrong"] = check(library, options.worlds)
    return result["num_wrong"] == 0
  if name == SANITIZER:
    return _sanitize(options.library.parent, result, save)
  planned = plan(options)
  if name == CEILINGS:
    found = timing.ceilings(library, planned)
    result["ceilings"] = found._asdict()
    print(
      f"{found.bytes_per_s / 1e12:.2f} TB/s copied,"
      f" {found.float32_per_s / 1e12:.1f} TFLOP/s float32,"
      f" {found.float16_per_s / 1e12:.0f} TFLOP/s float16 in matrix units;"
      f" a pair is {2 * planned.sizes.multiply_adds():,} operations and"
      f" {planned.sizes.state_bytes(2):,} bytes of float16 item state"
    )
    return True
  what, number, *kinds = name.split(" ", 2)
  planned = planned._replace(items=[int(number)], kinds=kinds)
  rows = {
    "search": lambda: timing.neural(library, planned, limits),
    "trivial": lambda: timing.trivial(library, planned),
    "metric": lambda: timing.metric(library, planned),
  }[what]()
  return _keep_rows(rows, result, save)


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


def _sanitize(folder: pathlib.Path, result: Result, save: Save) -> bool:
  """Runs the C++ test alone, and under each tool of compute-sanitizer."""
  program = folder / "search_test"
  if not program.exists():
    print(f"{program} is not there: nothing is run; `make cuda` makes it")
    return True
  # Copies from another machine may have lost it.
  program.chmod(program.stat().st_mode | 0o100)
  sanitizer = find_program("compute-sanitizer")
  result["tools"] = {}
  for tool in _TOOLS:
    command = [str(program)]
    if tool != "none":
      if sanitizer is None:
        print("compute-sanitizer is not there: its tools are not run")
        break
      flags = ["--tool", tool, "--error-exitcode", "9"]
      command = [sanitizer, *flags, *command]
    done = subprocess.run(
      command,
      env={**os.environ, "NANN_NUM_WORLDS": "8"},
      capture_output=True,
      text=True,
      check=False,
    )
    print(f"C++ test, tool {tool}: exit status {done.returncode}", flush=True)
    if done.returncode:
      print((done.stdout + done.stderr)[-3000:])
    result["tools"][tool] = done.returncode
    save()
  return not any(result["tools"].values())


def _keep_rows(rows: Iterator[Result], result: Result, save: Save) -> bool:
  """Prints a table as it grows, and keeps its rows."""
  print("| " + " | ".join(name for name, _ in _COLUMNS) + " |")
  print("|" + " --- |" * len(_COLUMNS))
  result["rows"] = []
  for row in rows:
    cells = [
      form.format(row[name]) if name in row else "" for name, form in _COLUMNS
    ]
    print("| " + " | ".join(cells) + " |", flush=True)
    result["rows"].append(row)
    save()
  return all(row.get("num_faults", 0) == 0 for row in result["rows"])
