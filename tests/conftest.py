"""What many tests share: where the real data lies, and small made-up worlds."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from nann import paths

ROOT = pathlib.Path(__file__).parent.parent

# Before any test imports TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def pytest_collection_modifyitems(
  config: pytest.Config, items: list[pytest.Item]
) -> None:
  """Leaves out what takes minutes, unless it is asked for."""
  if "soak" in config.option.markexpr:
    return
  left_out = [item for item in items if item.get_closest_marker("soak")]
  if left_out:
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
  """The folder of real data and of the original's answers."""
  folder = ROOT.parent / "shared"
  if not folder.is_dir():
    pytest.skip("the folder shared/ with the original's answers is not here")
  return folder


@pytest.fixture(scope="session")
def original(shared: pathlib.Path) -> pathlib.Path:
  """What the original system answers on a small model."""
  return shared / "fixtures" / "original"


def run_python(
  *arguments: str, **environment: str
) -> subprocess.CompletedProcess:
  """Runs a Python program from the repository root."""
  return subprocess.run(
    [sys.executable, *arguments],
    cwd=ROOT,
    env={**os.environ, **environment},
    capture_output=True,
    text=True,
    check=False,
  )


def write_csv(path: pathlib.Path, num_users: int, seed: int) -> pathlib.Path:
  """Writes a small behavior log with categories that users keep to."""
  rng = np.random.default_rng(seed)
  lines = []
  for user in range(1, num_users + 1):
    category = rng.integers(1, 9)
    for event in range(rng.integers(5, 40)):
      if rng.random() < 0.2:
        category = rng.integers(1, 9)
      item = category * 100 + int(20 * rng.random() ** 2)
      time = 1511600000 + 100 * event + int(rng.integers(3))
      lines.append(f"{user},{item},{category},pv,{time}")
  path.write_text("\n".join(lines) + "\n")
  return path


@dataclasses.dataclass(frozen=True)
class Run:
  """A small run of all jobs: its folders and flags."""

  dataset_dir: pathlib.Path
  output_root: pathlib.Path

  @property
  def flags(self) -> list[str]:
    return [
      f"--dataset-dir={self.dataset_dir}",
      f"--output-root={self.output_root}",
    ]


# The original's network and loss: every kind of export is possible.
TRAIN_FLAGS = [
  "--scorer=attention",
  "--adv-eps=3e-5",
  "--batch-size=64",
  "--num-neg=20",
  "--emb-dim=8",
  "--train-epochs=2",
  "--train-min-length=4",
  "--print-freq=5",
]


def main(job: str, *flags: str) -> subprocess.CompletedProcess:
  """Runs a job; fails the test with its output if it fails."""
  done = run_python("main.py", f"--job-type={job}", *flags)
  assert done.returncode == 0, done.stdout + done.stderr
  return done


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
  """All jobs on a small log, through main.py."""
  folder = tmp_path_factory.mktemp("run")
  csv = write_csv(folder / "log.csv", num_users=300, seed=1)
  run = Run(folder / "data", folder / "output")
  main("prepare_data", *run.flags, f"--input={csv}", "--train-min-length=4")
  main("train", *run.flags, *TRAIN_FLAGS)
  main("extract_feature", *run.flags)
  main("build_index", *run.flags, "--hnsw-num-neighbors=4")
  return run


def read_log(run: Run) -> list[dict]:
  """Returns the lines of the training log without what the clock decides."""
  log = paths.OutputPaths(run.output_root).training_log
  lines = [json.loads(line) for line in log.read_text().splitlines()]
  for line in lines:
    del line["samples_per_s"]
  return lines
