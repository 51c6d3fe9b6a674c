"""The steps of benchmark/full_scale.py: their commands, and what they tell.

A step is a job of main.py in a process of its own. What it tells beside time
and memory is read from what the job prints or writes.
"""

import dataclasses
import json
import pathlib
import re
import statistics
import sys
from collections.abc import Callable, Iterator
from typing import Any

import job_process

# Of Taobao's UserBehavior.
ROWS, USERS, ITEMS, CATEGORIES = 100_150_807, 987_994, 4_162_024, 9_439
# Of the synthetic items, some are in nobody's history.
_SEEN_ITEMS = 0.966
_TIME_WINDOW = "1511539200,1512316800"
# Trained as the original does: its speed is what ours is compared with.
_ORIGINAL = ("--scorer=attention", "--adv-eps=3e-5")
# Widths with which policy paper scores about one percent of the items.
_PAPER_WIDTHS = 0.036


@dataclasses.dataclass(frozen=True)
class Scale:
  """How large a run is, and where it lies.

  Attributes:
    rows: Of the log, about.
    folder: Everything is written here.
    train_steps: Steps of the training.
    users: Test users of the two policies.
    exact_users: Test users of exact scoring.
  """

  rows: int
  folder: pathlib.Path
  train_steps: int
  users: int
  exact_users: int

  @property
  def share(self) -> float:
    """Of the full size."""
    return self.rows / ROWS

  @property
  def csv(self) -> pathlib.Path:
    return self.folder / "behavior.csv"

  @property
  def data(self) -> pathlib.Path:
    return self.folder / "data"

  @property
  def output(self) -> pathlib.Path:
    return self.folder / "output"

  @property
  def first_step(self) -> pathlib.Path:
    """Output of the training that is stopped after a step."""
    return self.folder / "first_step"

  def meta(self) -> dict[str, Any]:
    """Returns what prepare_data says of the data set."""
    return _json(self.data / "ub_meta.json")

  def num_items(self) -> int:
    return int(self.meta()["num_item"])


@dataclasses.dataclass(frozen=True)
class Step:
  """A line of the table.

  Attributes:
    name: Of the line.
    command: What is run.
    made: A file that is there when the step is done.
    number: How many rows, items or users it went through, from what was
      printed.
    goal: What we aim at at full size.
    extras: Further figures, from what was printed.
    clears: A folder that is removed before: the job would go on from it.
  """

  name: str
  command: list[str]
  made: pathlib.Path
  number: Callable[[job_process.Finished], int]
  goal: str
  extras: Callable[[job_process.Finished], dict[str, float]] = lambda run: {}
  clears: pathlib.Path | None = None


def steps(scale: Scale) -> Iterator[Step]:
  """Yields the steps in order."""
  output = scale.output
  both = (f"--dataset-dir={scale.data}", f"--output-root={output}")
  yield Step(
    "generate_log",
    job_process.job(
      "generate_log",
      f"--synthetic-log={scale.csv}",
      f"--synthetic-users={max(30, round(scale.share * USERS))}",
      f"--synthetic-items={round(scale.share * ITEMS / _SEEN_ITEMS)}",
      f"--synthetic-categories={max(20, round(scale.share * CATEGORIES))}",
    ),
    scale.csv,
    lambda run: round(_number(run, r"([\d,]+) rows, ")),
    "10 min, memory flat",
    lambda run: {"csv_gb": scale.csv.stat().st_size / 1e9},
  )
  yield Step(
    "prepare_data",
    job_process.job(
      "prepare_data",
      f"--input={scale.csv}",
      f"--dataset-dir={scale.data}",
      f"--time-window={_TIME_WINDOW}",
    ),
    scale.data / "ub_meta.json",
    lambda run: int(scale.meta()["num_rows"]),
    "8 min, 200 K rows/s, 6 GB, 1.5 GB of records",
    lambda run: {
      "records_gb": _size(scale.data, "*.tfrecords") / 1e9,
      "num_items": scale.num_items(),
      "num_users": int(scale.meta()["num_train_user"]),
    },
  )
  yield _input_step(scale)
  yield Step(
    "start of training",
    job_process.job(
      "train",
      f"--dataset-dir={scale.data}",
      f"--output-root={scale.first_step}",
      *_ORIGINAL,
      "--max-train-steps=1",
      "--num-validations=0",
      "--print-freq=1",
    ),
    scale.first_step / "model" / "checkpoint",
    lambda run: 1,
    "first step done after 15 s",
    lambda run: {"first_step_s": _time_of(run, r"step 1/")},
    scale.first_step,
  )
  yield Step(
    "train",
    job_process.job(
      "train",
      *both,
      *_ORIGINAL,
      f"--max-train-steps={scale.train_steps}",
      "--num-validations=0",
      f"--print-freq={max(1, min(50, scale.train_steps // 4))}",
    ),
    output / "model" / "checkpoint",
    lambda run: 800 * scale.train_steps,
    "520 samples/s, 5 GB",
    lambda run: {"samples_per_s": _rate(output)},
    output / "model",
  )
  yield from _index_steps(scale, both)
  yield from _measuring_steps(scale, both)


def _input_step(scale: Scale) -> Step:
  return Step(
    "input alone",
    [
      sys.executable,
      "benchmark/input_batches.py",
      f"--dataset-dir={scale.data}",
      f"--json={scale.folder / 'input.json'}",
    ],
    scale.folder / "input.json",
    lambda run: int(_figure(scale.folder / "input.json", "samples")),
    "does not starve the step",
    lambda run: {
      name: _figure(scale.folder / "input.json", name)
      for name in ("first_batch_s", "samples_per_s")
    },
  )


def _index_steps(scale: Scale, both: tuple[str, ...]) -> Iterator[Step]:
  output = scale.output
  for name, users, goal in (
    ("extract_feature", 0, "60 s"),
    ("with score profiles", 256, ""),
  ):
    yield Step(
      name,
      job_process.job("extract_feature", *both, f"--profile-users={users}"),
      output / "embeddings" / "manifest.json",
      lambda run: scale.num_items(),
      goal,
    )
  yield Step(
    "build_index",
    job_process.job("build_index", *both),
    output / "index" / "manifest.json",
    lambda run: scale.num_items(),
    "the libraries' own time + 5 %",
    lambda run: {
      "paper_s": _number(run, r"paper: .* built in ([\d.]+) s"),
      "best_first_s": _number(run, r"best_first: .* built in ([\d.]+) s"),
      "library_s": _number(run, r"libraries' own time ([\d.]+) s"),
    },
  )
  yield Step(
    "tune",
    job_process.job("tune", *both, "--item-state-dtype=float16"),
    output / "search" / "settings.json",
    lambda run: scale.num_items(),
    "",
    lambda run: {
      name: float(_json(output / "search" / "settings.json")[name])
      for name in ("coverage", "num_scored", "num_users")
    },
  )


def _measuring_steps(scale: Scale, both: tuple[str, ...]) -> Iterator[Step]:
  output = scale.output
  yield Step(
    "export",
    job_process.job("export", *both, "--item-state-dtype=float16"),
    output / "export" / "exec.pb",
    lambda run: scale.num_items(),
    "3 min, 1.5 times the arrays",
    lambda run: {
      "arrays_gb": _size(output / "export" / "assets", "*.npy") / 1e9,
      # Without mapped files: the system may drop their pages.
      "own_memory_over_arrays": run.peak_own_bytes
      / _size(output / "export" / "assets", "*.npy"),
    },
  )
  yield Step(
    "test_all",
    job_process.job(
      "test_all",
      *both,
      "--item-state-dtype=float16",
      "--nobaselines",
      f"--num-test-batch={scale.exact_users}",
    ),
    output / "metrics" / "test_all.json",
    lambda run: int(_json(output / "metrics" / "test_all.json")["num_users"]),
    "0.7 s a user",
    lambda run: {
      "exact_s_per_user": _number(run, r"exact scoring: .* ([\d.,]+) ms") / 1e3
    },
    output / "metrics",
  )
  common = (
    *both,
    "--item-state-dtype=float16",
    "--search-mode=graph",
    "--nobaselines",
    f"--num-test-batch={scale.users}",
  )

  def paper_widths() -> str:
    scored = 0.01 * scale.share * ITEMS
    widths = [max(200, round(_PAPER_WIDTHS * scored / 2**x)) for x in range(3)]
    return ",".join(map(str, widths))

  for name, flags, goal in (
    (
      "test, paper",
      ("--search-policy=paper", f"--top-k-per-level={paper_widths()}"),
      "100 users/s at about 1 % scored",
    ),
    ("test, best_first", (), "1,000 users/s at 0.1 % scored"),
  ):
    yield Step(
      name,
      job_process.job("test", *common, *flags),
      output / "metrics" / "test.json",
      lambda run: int(_json(output / "metrics" / "test.json")["num_users"]),
      goal,
      lambda run: _search_figures(output / "metrics" / "test.json"),
    )


def _search_figures(path: pathlib.Path) -> dict[str, float]:
  report = _json(path)
  figures = {
    "users_per_s": 1e3 / report["latency_ms"]["batched"],
    "scored": report["num_scored"]["mean"],
    "scored_share": report["num_scored"]["scored_fraction"],
  }
  for row in report.get("agreement", [])[-1:]:
    figures["coverage"] = row["coverage"]["mean"]
  return figures


def _json(path: pathlib.Path) -> dict[str, Any]:
  return dict(json.loads(path.read_text()))


def _figure(path: pathlib.Path, name: str) -> float:
  return float(_json(path)["figures"][name])


def _size(folder: pathlib.Path, pattern: str) -> int:
  return sum(path.stat().st_size for path in folder.glob(pattern))


def _time_of(run: job_process.Finished, pattern: str) -> float:
  """Returns when a line was printed that holds a pattern."""
  return next(
    line.seconds for line in run.lines if re.search(pattern, line.text)
  )


def _number(run: job_process.Finished, pattern: str) -> float:
  """Returns the number that a line gives."""
  found = (re.search(pattern, line.text) for line in run.lines)
  return next(float(match[1].replace(",", "")) for match in found if match)


def _rate(output: pathlib.Path) -> float:
  """Returns the median of what the training log says of samples a second."""
  log = (output / "model" / "training_log.jsonl").read_text().splitlines()
  return statistics.median(json.loads(x)["samples_per_s"] for x in log)
