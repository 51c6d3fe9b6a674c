"""A trained model with its index for benchmarks: made once, kept, reused.

By default on synthetic behavior; --dataset and --test-users take a csv of your
own, --output-root and --dataset-dir a run that is there already.
"""

import argparse
import dataclasses
import pathlib
import sys
import time
from typing import Any

from nann import config, console, files, model_store, paths
from nann.data_provider import dataset
from nann.jobs import artefacts, build_index, extract_feature, prepare_data
from nann.jobs import train as train_job
from nann.retrieval.retriever import Retriever
from nann.setting_groups import SearchSettings

_ROOT = pathlib.Path("output/benchmark")
_TRAINING = {"batch_size": 400, "num_neg": 100, "print_freq": 200}
_CATEGORIES_PER_ITEM, _USERS_PER_ITEM = 1 / 50, 0.8
_MOST_USERS = 300_000
# What a job took, beside what it made.
_SECONDS = "seconds.json"


@dataclasses.dataclass(frozen=True)
class TrainedRun:
  """A run on disk, loaded.

  Attributes:
    name: What it is a run of.
    output_root: Where it lies.
    data: The data set.
    retriever: Scorer, items and graphs.
    scorer: Its name.
    training_s: Seconds of job train, where the benchmarks ran it.
  """

  name: str
  output_root: pathlib.Path
  data: dataset.PreparedData
  retriever: Retriever
  scorer: str
  training_s: float | None

  @property
  def num_items(self) -> int:
    return len(self.retriever.items)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the flags that choose a run."""
  parser.add_argument(
    "--items", type=int, default=50_000, help="items of the synthetic log"
  )
  parser.add_argument(
    "--train-steps", type=int, default=1600, help="steps of the training"
  )
  parser.add_argument("--scorer", default="attention", help="what is trained")
  parser.add_argument("--adv-eps", type=float, help="of the training")
  parser.add_argument("--train-epochs", type=int, help="most of them")
  parser.add_argument("--num-validations", type=int, help="in the training")
  parser.add_argument("--dataset", metavar="CSV", help="a log of your own")
  parser.add_argument("--test-users", metavar="FILE", help="its test users")
  parser.add_argument(
    "--train-min-length",
    type=int,
    default=10,
    help="shortest history of a training target",
  )
  parser.add_argument(
    "--item-state-dtype",
    default=SearchSettings.item_state_dtype,
    choices=("float32", "float16", "bfloat16"),
    help="how the items' states are kept",
  )
  parser.add_argument("--output-root", help="a run that is there already")
  parser.add_argument("--dataset-dir", help="the records of that run")


def load(arguments: argparse.Namespace, with_index: bool = True) -> TrainedRun:
  """Loads the run that the flags choose; makes it first if it is not there.

  Args:
    arguments: The flags.
    with_index: With the graphs.
  """
  if arguments.output_root:
    output_root = pathlib.Path(arguments.output_root)
    dataset_dir = pathlib.Path(arguments.dataset_dir or output_root / "data")
    name = output_root.name
  else:
    name = _name(arguments)
    # Scorers share the data.
    output_root, dataset_dir = _ROOT / name, _ROOT / name / "data"
    if arguments.scorer != "attention":
      name += f"_{arguments.scorer}"
      output_root = _ROOT / name
    _make(arguments, output_root, dataset_dir, with_index)
  output = paths.OutputPaths(output_root)
  data = dataset.load(dataset_dir)
  retriever = artefacts.load_retriever(
    output, data, with_index, arguments.item_state_dtype
  )
  scorer = model_store.read_description(output.model)
  seconds = output_root / _SECONDS
  return TrainedRun(
    name,
    output_root,
    data,
    retriever,
    "" if scorer is None else scorer.name,
    files.load_json(seconds, "train")["train"] if seconds.exists() else None,
  )


def _name(arguments: argparse.Namespace) -> str:
  if arguments.dataset:
    return pathlib.Path(arguments.dataset).name.split(".")[0]
  return f"synthetic_{arguments.items}"


def _make(
  arguments: argparse.Namespace,
  output_root: pathlib.Path,
  dataset_dir: pathlib.Path,
  with_index: bool,
) -> None:
  values: dict[str, Any] = {
    "output_root": str(output_root),
    "dataset_dir": str(dataset_dir),
    "max_train_steps": arguments.train_steps,
    "train_min_length": arguments.train_min_length,
    "scorer": arguments.scorer,
    **_TRAINING,
  }
  for name in ("adv_eps", "train_epochs", "num_validations"):
    # Otherwise the job's own default.
    if getattr(arguments, name) is not None:
      values[name] = getattr(arguments, name)
  if arguments.dataset:
    values["input"] = (arguments.dataset,)
    values["test_users"] = arguments.test_users or ""
  else:
    number = arguments.items
    values["synthetic_items"] = number
    values["synthetic_users"] = min(int(_USERS_PER_ITEM * number), _MOST_USERS)
    values["synthetic_categories"] = max(1, int(_CATEGORIES_PER_ITEM * number))
  settings = config.config_from_values(values)
  output = paths.OutputPaths(output_root)
  for job, made in (
    (prepare_data, paths.DatasetPaths(dataset_dir).meta),
    (train_job, output.embeddings),
    (extract_feature, output.embeddings),
    (build_index, output.index),
  ):
    if not made.exists() and (with_index or job is not build_index):
      begin = time.monotonic()
      job.run(settings)
      if job is train_job:
        seconds = {"train": time.monotonic() - begin}
        files.save_json(output_root / _SECONDS, seconds)
  console.say(f"{output_root} is kept; remove it to train anew")


def main() -> None:
  """Makes the run and stops."""
  parser = argparse.ArgumentParser(description=__doc__)
  add_arguments(parser)
  run = load(parser.parse_args())
  console.say(f"{run.name}: {run.num_items:,} items")


if __name__ == "__main__":
  sys.exit(main())
