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
SCORERS = {
  "attention": ["--scorer=attention", "--adv-eps=3e-5"],
  # What is dropped depends on the place in a worker's batch.
  "nann_plus": ["--scorer=nann_plus", "--dropout=0"],
}


def batch_of(size: int) -> list[str]:
  """Returns flags: positives or sequences of a worker's step."""
  return [f"--batch-size={size}", f"--sequence-batch={size}"]


def free_address() -> str:
  """Returns an address of this machine where nobody listens."""
  with socket.create_server(("127.0.0.1", 0)) as taken:
    return f"127.0.0.1:{taken.getsockname()[1]}"


def start(
  run: Run,
  folder: pathlib.Path,
  cluster: dict[str, list[str]],
  task: tuple[str, int],
  flags: list[str],
) -> subprocess.Popen:
  """Starts a process; what it prints goes into a file of a folder."""
  folder.mkdir(exist_ok=True)
  kind, index = task
  content = {"cluster": cluster, "task": {"type": kind, "index": index}}
  with open(folder / f"{kind}{index}.log", "w") as log:
    return subprocess.Popen(
      [
        sys.executable,
        "main.py",
        "--job-type=train",
        *FLAGS,
        *flags,
        *run.flags,
      ],
      cwd=ROOT,
      env={
        **os.environ,
        "TF_CONFIG": json.dumps(content),
        "TF_CPP_MIN_LOG_LEVEL": "2",
      },
      stdout=log,
      stderr=subprocess.STDOUT,
    )


def start_two(
  run: Run, folder: pathlib.Path, scorer: str
) -> list[subprocess.Popen]:
  """Starts two workers of half a batch each."""
  cluster = {"worker": [free_address(), free_address()]}
  flags = [*SCORERS[scorer], *batch_of(32)]
  return [start(run, folder, cluster, ("worker", i), flags) for i in range(2)]


def wait_for(text: str, log: pathlib.Path, process: subprocess.Popen) -> None:
  """Returns when a process has printed something."""
  while text not in log.read_text():
    assert process.poll() is None, log.read_text()[-3000:]
    signal.sigtimedwait([], 0.02)


def wait(processes: list[subprocess.Popen], folder: pathlib.Path) -> None:
  """Waits until the workers are done; fails with what they printed."""
  for index, process in enumerate(processes):
    code = process.wait(300)
    assert code == 0, (folder / f"worker{index}.log").read_text()[-3000:]


def same_curve(got: list[dict], wanted: list[dict], tolerance: float) -> None:
  """Compares the losses of two logs, step by step."""
  assert [row["step"] for row in got] == [row["step"] for row in wanted]
  np.testing.assert_allclose(
    [row["loss"] for row in got],
    [row["loss"] for row in wanted],
    rtol=tolerance,
  )


# A scorer each here, the other one in the long tests.
@pytest.mark.slow
@pytest.mark.parametrize(
  "scorer", [pytest.param("attention", marks=pytest.mark.soak), "nann_plus"]
)
def test_two_workers_train_as_one_and_survive_the_loss_of_one(
  small_run: Run, tmp_path: pathlib.Path, scorer: str
) -> None:
  one = Run(small_run.dataset_dir, tmp_path / "one")
  main("train", *one.flags, *FLAGS, *SCORERS[scorer], *batch_of(64))
  two = Run(small_run.dataset_dir, tmp_path / "two")
  wait(start_two(two, tmp_path / "logs", scorer), tmp_path / "logs")
  same_curve(read_log(two), read_log(one), 1e-3)

  killed = Run(small_run.dataset_dir, tmp_path / "killed")
  chief, worker = start_two(killed, tmp_path / "first", scorer)
  log = tmp_path / "first" / "worker0.log"
  wait_for("step 15/30", log, chief)
  worker.kill()
  assert chief.wait(120) != 0
  assert "start all again" in log.read_text()
  wait(start_two(killed, tmp_path / "again", scorer), tmp_path / "again")
  assert (
    "going on from step 10" in (tmp_path / "again" / "worker0.log").read_text()
  )
  same_curve(read_log(killed), read_log(two), 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
  "scorer", ["attention", pytest.param("nann_plus", marks=pytest.mark.soak)]
)
def test_parameter_servers_give_the_curve_and_a_worker_may_come_back(
  small_run: Run, tmp_path: pathlib.Path, scorer: str
) -> None:
  flags = [*SCORERS[scorer], *batch_of(64)]
  one = Run(small_run.dataset_dir, tmp_path / "one")
  main("train", *one.flags, *FLAGS, *flags)
  run = Run(small_run.dataset_dir, tmp_path / "servers")
  logs = tmp_path / "logs"
  cluster = {
    "chief": [free_address()],
    "worker": [free_address()],
    "ps": [free_address(), free_address()],
  }
  tasks = [("ps", 0), ("ps", 1), ("worker", 0), ("chief", 0)]
  processes = [start(run, logs, cluster, task, flags) for task in tasks]
  try:
    chief = processes[-1]
    wait_for("step 15/30", logs / "chief0.log", chief)
    processes[2].kill()
    processes[2].wait()
    processes[2] = start(run, logs, cluster, ("worker", 0), flags)
    assert chief.wait(300) == 0, (logs / "chief0.log").read_text()[-3000:]
  finally:
    for process in processes:
      process.kill()
      process.wait()
  got, wanted = read_log(run), read_log(one)
  same_curve(got[:3], wanted[:3], 1e-3)
  # The step that was lost with the worker may have been taken twice.
  same_curve(got, wanted, 3e-2)


def test_parameter_servers_without_a_chief_are_refused(
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  cluster = {"worker": ["a:1"], "ps": ["b:1"]}
  task = {"type": "worker", "index": 0}
  content = json.dumps({"cluster": cluster, "task": task})
  monkeypatch.setenv("TF_CONFIG", content)
  with pytest.raises(ValueError, match="parameter servers, but no chief"):
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
