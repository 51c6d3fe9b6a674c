"""What the adversarial loss is worth: eps x scorer x data set, and its rivals.

For each data set and scorer one model is trained without an adversarial loss.
Each cell of the study trains it on for the same number of steps with one kind
and size of that loss, builds the index and measures both on validation users,
in a process of its own. What is done is kept in the output folder: the same
command goes on where it stopped. eps is in units of mean |e|.
"""

import argparse
import dataclasses
import itertools
import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import adversarial_table
import harness
import study

from nann import config, console, files
from nann.jobs import build_index, extract_feature
from nann.jobs import train as train_job
from nann.retrieval import evaluation
from nann.retrieval import result as results

_SCORERS = "two_tower,dnn,attention,nann_plus"
_EPS = "0,0.01,0.03,0.1,0.3,1"
# A minute or two of training first, then half a minute a cell, on two cores.
_BASE_STEPS = "two_tower=1500,dnn=500,attention=400,nann_plus=300"
_STEPS = "two_tower=300,dnn=120,attention=80,nann_plus=80"
_METHODS = "random_sign,pgd,penalty"
_WIDTH, _EFS = 16, (200, 300, 450)


@dataclasses.dataclass(frozen=True)
class Cell:
  """One model of the study."""

  data: str
  scorer: str
  method: str
  eps: float
  seed: int

  def path(self, output: pathlib.Path) -> pathlib.Path:
    name = f"{self.scorer}-{self.method}-{self.eps:g}-{self.seed}.json"
    return output / "cells" / self.data / name

  def base(self, output: pathlib.Path) -> pathlib.Path:
    """Returns the folder of the model that the cell starts from."""
    return output / "base" / self.data / f"{self.scorer}-{self.seed}"


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
  _report(cells, output, arguments)


def _parser() -> argparse.ArgumentParser:
  parser = study.parser(__doc__ or "", "output/adversarial_study")
  parser.add_argument("--scorers", default=_SCORERS)
  parser.add_argument("--eps", default=_EPS)
  parser.add_argument("--methods", default=_METHODS)
  parser.add_argument("--method-eps", default="0.1")
  parser.add_argument("--method-scorers", default="attention,nann_plus")
  parser.add_argument(
    "--base-steps",
    type=_by_scorer,
    default=_BASE_STEPS,
    help="of the training that all cells of a scorer start from",
  )
  parser.add_argument(
    "--steps", type=_by_scorer, default=_STEPS, help="of a cell's training"
  )
  parser.add_argument("--batch-size", type=int, default=400)
  parser.add_argument("--num-neg", type=int, default=100)
  return parser


def _by_scorer(text: str) -> dict[str, int]:
  """Reads "attention=500,dnn=800"."""
  pairs = (pair.split("=", 1) for pair in text.split(","))
  return {name: int(number) for name, number in pairs}


def _cells(arguments: argparse.Namespace) -> Iterator[Cell]:
  names = list(study.folders(arguments))
  seeds = [int(x) for x in arguments.seeds.split(",")]
  eps = [float(x) for x in arguments.eps.split(",")]
  for seed, value, name, scorer in itertools.product(
    seeds, eps, names, arguments.scorers.split(",")
  ):
    yield Cell(name, scorer, "fgsm", value, seed)
  methods = [x for x in arguments.methods.split(",") if x]
  for seed, value, name, scorer, method in itertools.product(
    seeds,
    [float(x) for x in arguments.method_eps.split(",")],
    names,
    arguments.method_scorers.split(","),
    methods,
  ):
    yield Cell(name, scorer, method, value, seed)


def _measure(cell: Cell, arguments: argparse.Namespace) -> dict[str, Any]:
  """Trains a model and measures it on validation users."""
  output = pathlib.Path(arguments.output)
  base, folder = cell.base(output), output / "run"
  study.remove(folder)
  if not (base / "model" / "done").exists():
    plain = dataclasses.replace(cell, method="fgsm", eps=0.0)
    steps = arguments.base_steps[cell.scorer]
    more = {"num_validations": 1}  # Which chooses the weight of neighbors.
    train_job.run(_settings(plain, arguments, base, steps, more))
    (base / "model" / "done").touch()
  settings = _settings(
    cell,
    arguments,
    folder,
    arguments.steps[cell.scorer],
    {"init_from": str(base / "model")},
  )
  begin = time.monotonic()
  train_job.run(settings)
  seconds = time.monotonic() - begin
  extract_feature.run(settings)
  build_index.run(settings)
  validated = study.validate(settings, with_index=True)
  bench, held_out = validated.bench, validated.held_out
  recall = evaluation.recall(
    "exact", validated.exact, held_out.targets, held_out.novel(), study.K
  )
  found: dict[str, Any] = {
    **dataclasses.asdict(cell),
    "train_s": seconds,
    "recall_all": recall.to_json(),
    "searches": [],
  }
  for ef in _EFS:
    policy = results.BestFirstPolicy(ef, _WIDTH, 64, 100_000)
    answers = results.concatenate(
      list(bench.retriever.search(held_out.histories, policy, study.K))
    )
    agreement = evaluation.agreement(
      bench.to_item_ids(answers.rows),
      validated.exact,
      held_out.targets,
      study.K,
    )
    found["searches"].append(
      {
        "ef": ef,
        "scored": float(answers.total_scored.mean()),
        **agreement.to_json(),
      }
    )
  return found


def _settings(
  cell: Cell,
  arguments: argparse.Namespace,
  output_root: pathlib.Path,
  steps: int,
  more: dict[str, Any],
) -> config.Config:
  return config.config_from_values(
    {
      "dataset_dir": study.folders(arguments)[cell.data],
      "output_root": str(output_root),
      "scorer": cell.scorer,
      "adv_method": cell.method,
      "adv_eps": cell.eps,
      "adv_eps_relative": True,
      "max_train_steps": steps,
      "train_epochs": 100,
      "batch_size": arguments.batch_size,
      "num_neg": arguments.num_neg,
      "num_validations": 0,
      # The graph of the other policy is not used.
      "hnsw_num_neighbors": 4,
      "hnsw_ef_construction": 4,
      "seed": cell.seed,
      **more,
    }
  )


def _report(
  cells: list[Cell], output: pathlib.Path, arguments: argparse.Namespace
) -> None:
  done = study.kept(cells, output)
  table = adversarial_table.of_results(done)
  title = f"{len(done)} of {len(cells)} cells, steps: {arguments.steps}"
  console.table(title, table.head, table.rows)
  if arguments.json:
    figures = {"cells_done": len(done), "cells": len(cells), "results": done}
    harness.report("adversarial study", figures, arguments.json)


if __name__ == "__main__":
  main()
