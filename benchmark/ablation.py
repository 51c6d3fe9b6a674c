"""What each part of nann_plus and of its recipe is worth, one change at a time.

For each data set every change is trained from the start, for as many steps as
the others (--steps), and those that make a step cheaper or dearer once more
for as long as the others (--time). Each is measured on validation users, by
exact scoring, in a process of its own. What is done is kept in the output
folder: the same command goes on where it stopped. Rows of a data set answer
the same targets, so the errors of their differences are those of pairs.
"""

import argparse
import dataclasses
import itertools
import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import ablation_table
import harness
import study

from nann import config, console, files
from nann.jobs import extract_feature
from nann.jobs import train as train_job
from nann.retrieval import metrics

# Names of changes, and the settings they change.
_CHANGES: dict[str, dict[str, Any]] = {
  ablation_table.NONE: {},
  "no warm start": {"warm_start": False},
  "no FISM": {"fism": False},
  "no encoder": {"encoder": False},
  "no attention term": {"attention_term": False},
  "no repeats": {"repeats": False},
  "no neighbors": {"neighbors": False},
  "no OOV dropout": {"oov_dropout": 0.0},
  "no dropout": {"dropout": 0.0},
  "every window alike": {"user_power": 1.0},
  "constant learning rate": {"lr_schedule": "constant"},
  "sigmoid loss": {"loss": "sigmoid"},
  "300 negatives": {"sequence_negatives": 300},
}
# Those that change what a step costs.
_TIMED = (
  ablation_table.NONE,
  "no FISM",
  "no encoder",
  "no attention term",
  "no repeats",
  "300 negatives",
)


@dataclasses.dataclass(frozen=True)
class Cell:
  """One training.

  Attributes:
    data: Name of the data set.
    change: One of `_CHANGES`.
    is_timed: For as long as the others, not for as many steps.
    seed: Of everything.
  """

  data: str
  change: str
  is_timed: bool
  seed: int

  def path(self, output: pathlib.Path) -> pathlib.Path:
    kind = "time" if self.is_timed else "steps"
    name = f"{self.change.replace(' ', '_')}-{kind}-{self.seed}.json"
    return output / "cells" / self.data / name


def main() -> None:
  """Runs what is left of the study, or one cell, and prints the table."""
  arguments = _parser().parse_args()
  output = pathlib.Path(arguments.output)
  if arguments.cell:
    cell = Cell(**json.loads(arguments.cell))
    files.save_json(cell.path(output), _measure(cell, arguments))
    return
  cells = list(_cells(arguments))
  study.measure_left(cells, arguments)
  done = study.kept(cells, output)
  table = ablation_table.of_results(done)
  console.table(f"{len(done)} of {len(cells)} cells", table.head, table.rows)
  if arguments.json:
    figures = {"cells_done": len(done), "cells": len(cells), "results": done}
    harness.report("ablation", figures, arguments.json)


def _parser() -> argparse.ArgumentParser:
  parser = study.parser(__doc__ or "", "output/ablation")
  parser.add_argument("--steps", type=int, default=400, help="of a training")
  parser.add_argument(
    "--time", type=float, default=1.0, help="minutes of a training; 0: none"
  )
  parser.add_argument("--changes", default=",".join(_CHANGES))
  return parser


def _cells(arguments: argparse.Namespace) -> Iterator[Cell]:
  changes = arguments.changes.split(",")
  unknown = set(changes) - set(_CHANGES)
  if unknown:
    raise SystemExit(
      f"ablation.py: no such change: {', '.join(sorted(unknown))}; there are"
      f" {', '.join(_CHANGES)}"
    )
  names = study.folders(arguments)
  for seed, name, change in itertools.product(
    [int(x) for x in arguments.seeds.split(",")], names, changes
  ):
    yield Cell(name, change, False, seed)
    if change in _TIMED and arguments.time:
      yield Cell(name, change, True, seed)


def _measure(cell: Cell, arguments: argparse.Namespace) -> dict[str, Any]:
  """Trains a scorer and measures it on validation users."""
  folder = pathlib.Path(arguments.output) / "run"
  study.remove(folder)
  limit = (
    {"time_budget": arguments.time}
    if cell.is_timed
    else {"max_train_steps": arguments.steps}
  )
  settings = config.config_from_values(
    {
      "dataset_dir": study.folders(arguments)[cell.data],
      "output_root": str(folder),
      "scorer": "nann_plus",
      "train_epochs": 1000,
      # The weight of neighbors is the default: what measures must not choose.
      "num_validations": 0,
      "seed": cell.seed,
      **config.SCORER_DEFAULTS["nann_plus"],
      **limit,
      **_CHANGES[cell.change],
    }
  )
  begin = time.monotonic()
  train_job.run(settings)
  seconds = time.monotonic() - begin
  extract_feature.run(settings)
  validated = study.validate(settings, with_index=False)
  targets = validated.held_out.targets
  hits = metrics.hits(validated.exact, targets, study.K)
  log = (folder / "model" / "training_log.jsonl").read_text().splitlines()
  return {
    **dataclasses.asdict(cell),
    "steps": max(json.loads(line)["step"] for line in log),
    "train_s": seconds,
    "hits": ablation_table.to_digits(hits),
    "novel": ablation_table.to_digits(validated.held_out.novel()),
  }


if __name__ == "__main__":
  main()
