"""What all benchmarks share: repeated timing, and the JSON they write.

A file has {"command", "machine", "versions", "figures"}; the names of the
figures are stable, so that runs can be compared.
"""

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from nann import console, files, machine


def parser(description: str) -> argparse.ArgumentParser:
  """Returns a parser that knows --json."""
  made = argparse.ArgumentParser(
    description=description,
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
  )
  made.add_argument("--json", metavar="FILE", help="also write the figures")
  return made


def seconds_of(
  run: Callable[[], Any], repeats: int, warm_up: int = 1
) -> np.ndarray:
  """Returns the seconds of each of `repeats` runs, after some warm-up runs."""
  for _ in range(warm_up):
    run()
  times = []
  for _ in range(repeats):
    begin = time.perf_counter()
    run()
    times.append(time.perf_counter() - begin)
  return np.array(times)


def report(title: str, figures: dict[str, Any], json_path: str | None) -> None:
  """Prints the figures and writes them if a path is given."""
  console.table(
    title,
    ["figure", "value"],
    [(name, _shown(value)) for name, value in figures.items()],
  )
  if json_path:
    content = {
      "command": " ".join(["python", _script(), *sys.argv[1:]]),
      "machine": machine.describe(),
      "versions": machine.versions(),
      "figures": figures,
    }
    files.save_json(pathlib.Path(json_path), content)


def _script() -> str:
  """Returns the path of the benchmark from the repository root."""
  return f"benchmark/{pathlib.Path(sys.argv[0]).name}"


def _shown(value: Any) -> str:
  if isinstance(value, float):
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
  if isinstance(value, list) and value and isinstance(value[0], dict):
    return f"{len(value):,} rows"
  if isinstance(value, (dict, list)):
    return json.dumps(value)
  return f"{value:,}" if isinstance(value, int) else str(value)
