"""What the studies share: cells, each in a process of its own, and kept.

A study is a list of cells. What is measured of a cell stays in the output
folder, so that the same command goes on where it stopped.
"""

import argparse
import dataclasses
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Protocol

import harness
import numpy as np

from nann import config, console
from nann.data_provider import dataset
from nann.jobs import measuring

K = 200
_TARGETS_PER_USER, _MOST_TARGETS = 3, 2_000
_MAX_PAIRS = 60_000_000


class Cell(Protocol):
  """One model of a study; a dataclass."""

  def path(self, output: pathlib.Path) -> pathlib.Path:
    """Returns where its results are kept."""


@dataclasses.dataclass(frozen=True)
class Validated:
  """Validation users, and what exact scoring finds for them.

  Attributes:
    bench: What was measured with.
    held_out: Histories [n, L] and targets [n].
    exact: [n, K] int64 item ids, best first.
  """

  bench: measuring.Bench
  held_out: dataset.HeldOut
  exact: np.ndarray


def parser(description: str, output: str) -> argparse.ArgumentParser:
  """Returns a parser that knows the flags of every study."""
  made = harness.parser(description)
  made.add_argument("--output", default=output)
  made.add_argument(
    "--data",
    action="append",
    metavar="NAME=DATASET_DIR",
    required=True,
    help="a prepared data set; may be given several times",
  )
  made.add_argument("--seeds", default="0")
  made.add_argument(
    "--minutes", type=float, default=1e6, help="begin no cell after so many"
  )
  made.add_argument("--cell", help=argparse.SUPPRESS)
  return made


def folders(arguments: argparse.Namespace) -> dict[str, str]:
  """Returns the data sets' folders by their names."""
  return dict(pair.split("=", 1) for pair in arguments.data)


def measure_left(cells: Sequence[Any], arguments: argparse.Namespace) -> None:
  """Measures every cell that is not kept, with this command and --cell."""
  output = pathlib.Path(arguments.output)
  end = time.monotonic() + 60 * arguments.minutes
  for number, cell in enumerate(cells, start=1):
    path = cell.path(output)
    if path.exists():
      continue
    if time.monotonic() > end:
      console.warn("the time is over; the same command goes on from here")
      break
    console.say(f"{number} of {len(cells)}: {cell}")
    path.parent.mkdir(parents=True, exist_ok=True)
    passed = f"--cell={json.dumps(dataclasses.asdict(cell))}"
    with open(path.with_suffix(".log"), "w") as log:
      subprocess.run(
        [sys.executable, *sys.argv, passed],
        check=True,
        stdout=log,
        stderr=subprocess.STDOUT,
      )


def kept(cells: Sequence[Cell], output: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the results of the cells that are measured."""
  paths = [cell.path(output) for cell in cells]
  return [json.loads(path.read_text()) for path in paths if path.exists()]


def validate(settings: config.Config, with_index: bool) -> Validated:
  """Scores all items for validation users, three targets each."""
  bench = measuring.set_up(settings, with_index=with_index, split="validate")
  most = min(_MOST_TARGETS, _MAX_PAIRS // bench.num_items)
  held_out = bench.data.held_out("validate", _TARGETS_PER_USER)
  held_out = held_out.sample(most, seed=0)
  exact = bench.to_item_ids(
    measuring.exact_rows(bench.retriever, held_out.histories, K)
  )
  return Validated(bench, held_out, exact)


def remove(folder: pathlib.Path) -> None:
  """Removes the run of the cell before."""
  for path in sorted(folder.rglob("*"), reverse=True):
    path.rmdir() if path.is_dir() else path.unlink()
