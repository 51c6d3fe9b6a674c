"""A training by two workers, each a process, is the training by one."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from nann.jobs import workers
from tests.conftest import ROOT, Run, main, read_log

FLAGS = [
  "--num-neg=20",
  "--emb-dim=8",
  "--train-min-length=4",
  "--print-freq=5",
  "--save-freq=10",
  "--num-validations=0",
  "--max-train-steps=30",
]
_TRAIN = ["--job-type=train", "--batch-size=32", *FLAGS]


def free_address() -> str:
  """Returns an address of this machine where nobody listens."""
  with socket.create_server(("127.0.0.1", 0)) as taken:
    return f"127.0.0.1:{taken.getsockname()[1]}"


def start_two(run: Run, folder: pathlib.Path) -> list[subprocess.Popen]:
  """Starts both workers; what they print goes into files of a folder."""
  folder.mkdir()
  cluster = {"worker": [free_address(), free_address()]}
  found = []
  for index in range(2):
    task = {"type": "worker", "index": index}
    with open(folder / f"{index}.log", "w") as log:
      found.append(
        subprocess.Popen(
          [sys.executable, "main.py", *_TRAIN, *run.flags],
          cwd=ROOT,
          env={
            **os.environ,
            "TF_CONFIG": json.dumps({"cluster": cluster, "task": task}),
            "TF_CPP_MIN_LOG_LEVEL": "2",
          },
          stdout=log,
          stderr=subprocess.STDOUT,
        )
      )
  return found


def wait(processes: list[subprocess.Popen], folder: pathlib.Path) -> None:
  """Waits until the workers are done; fails with what they printed."""
  for index, process in enumerate(processes):
    code = process.wait(300)
    assert code == 0, (folder / f"{index}.log").read_text()[-3000:]


def same_curve(got: list[dict], wanted: list[dict], tolerance: float) -> None:
  """Compares the losses of two logs, step by step."""
  assert [row["step"] for row in got] == [row["step"] for row in wanted]
  np.testing.assert_allclose(
    [row["loss"] for row in got],
    [row["loss"] for row in wanted],
    rtol=tolerance,
  )


@pytest.mark.slow
def test_two_workers_train_as_one_and_survive_the_loss_of_one(
  small_run: Run, tmp_path: pathlib.Path
) -> None:
  one = Run(small_run.dataset_dir, tmp_path / "one")
  main("train", *one.flags, *FLAGS, "--batch-size=64")
  two = Run(small_run.dataset_dir, tmp_path / "two")
  wait(start_two(two, tmp_path / "logs"), tmp_path / "logs")
  same_curve(read_log(two), read_log(one), 1e-3)

  killed = Run(small_run.dataset_dir, tmp_path / "killed")
  chief, worker = start_two(killed, tmp_path / "first")
  assert chief.stdout is None
  log = tmp_path / "first" / "0.log"
  while "step 15/30" not in log.read_text():
    assert chief.poll() is None, log.read_text()[-3000:]
    signal.sigtimedwait([], 0.02)
  worker.kill()
  assert chief.wait(120) != 0
  assert "start all again" in log.read_text()
  wait(start_two(killed, tmp_path / "again"), tmp_path / "again")
  assert "going on from step 10" in (tmp_path / "again" / "0.log").read_text()
  same_curve(read_log(killed), read_log(two), 1e-6)


def test_parameter_servers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
  cluster = {"worker": ["a:1"], "ps": ["b:1"]}
  task = {"type": "worker", "index": 0}
  content = json.dumps({"cluster": cluster, "task": task})
  monkeypatch.setenv("TF_CONFIG", content)
  with pytest.raises(ValueError, match="TF_CONFIG names ps, wanted workers"):
    workers.make_strategy()


@pytest.mark.parametrize(
  ("cluster", "task", "is_chief"),
  [
    ({"worker": ["a", "b"]}, ("worker", 0), True),
    ({"worker": ["a", "b"]}, ("worker", 1), False),
    ({"chief": ["c"], "worker": ["a"]}, ("worker", 0), False),
    ({"chief": ["c"], "worker": ["a"]}, ("chief", 0), True),
  ],
)
def test_one_worker_writes(
  monkeypatch: pytest.MonkeyPatch,
  cluster: dict[str, list[str]],
  task: tuple[str, int],
  is_chief: bool,
) -> None:
  named = {"type": task[0], "index": task[1]}
  content = json.dumps({"cluster": cluster, "task": named})
  monkeypatch.setenv("TF_CONFIG", content)
  assert workers.are_several()
  assert workers.is_chief() == is_chief
