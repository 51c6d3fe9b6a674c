"""The program that checks and times the search on a GPU, under the emulator."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from benchmark import cuda_library as cuda
from benchmark import cuda_parts
from tests.ops.cuda import build, pairs


def run(
  tmp_path: pathlib.Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
  # Hides TensorFlow and all else but NumPy: a GPU machine may have no more.
  blocker = "import sys; sys.modules.update(dict.fromkeys("
  blocker += "['tensorflow', 'faiss', 'setuptools', 'nann._core']))\n"
  (tmp_path / "sitecustomize.py").write_text(blocker)
  return subprocess.run(
    [sys.executable, "-m", "benchmark.cuda_check", *arguments],
    cwd=build.ROOT,
    env={**os.environ, "PYTHONPATH": str(tmp_path)},
    capture_output=True,
    text=True,
    check=False,
  )


def test_everything_is_checked_and_timed(
  emulator: cuda.Library, tmp_path: pathlib.Path
) -> None:
  written = tmp_path / "check.json"
  done = run(
    tmp_path,
    f"--library={build.emulated_library()}",
    f"--json={written}",
    "--small",
    "--worlds=10",
  )
  assert done.returncode == 0, done.stdout + done.stderr
  assert done.stdout.count(": right") == 12
  result = json.loads(written.read_text())
  rows = [
    row for part in result["parts"].values() for row in part.get("rows", [])
  ]
  kinds = {row["what"] for row in rows}
  assert kinds == {"search", "exact scan", "trivial scorer", "metric"}
  assert all(row["queries_per_s"] > 0 for row in rows)
  assert all(row["of_operations"] > 0 for row in rows if "scan" in row["what"])
  assert {part["status"] for part in result["parts"].values()} == {0}


def test_wrong_answers_are_counted(
  emulator: cuda.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
  right = pairs.World.scores
  monkeypatch.setattr(pairs.World, "scores", lambda self: right(self) + 1)
  # The five ways of scoring pairs, alone and in a search.
  assert cuda_parts.check(emulator, 10) == 10


def test_part_that_fails_loses_no_other(
  emulator: cuda.Library, tmp_path: pathlib.Path
) -> None:
  written = tmp_path / "check.json"
  common = (f"--library={build.emulated_library()}", f"--json={written}")
  small = (*common, "--small", "--worlds=1")
  done = run(tmp_path, *small, "--parts", "ceilings")
  assert done.returncode == 0, done.stdout + done.stderr
  # More users than there is memory for.
  large = ("--items", "300", "--users", "1", str(1 << 50), "--scored", "20")
  done = run(tmp_path, *common, *large, "--repeats=1", "--parts", "trivial")
  assert done.returncode == 1
  assert "not right: trivial 300" in done.stdout
  parts = json.loads(written.read_text())["parts"]
  assert [part["status"] for part in parts.values()] == [0, 1]
  assert parts["ceilings"]["ceilings"]["bytes_per_s"] > 0
  # Nor its own that it had.
  assert [row["users"] for row in parts["trivial 300"]["rows"]] == [1]


def test_time_that_is_over_is_told(
  emulator: cuda.Library, tmp_path: pathlib.Path
) -> None:
  written = tmp_path / "check.json"
  done = run(
    tmp_path,
    f"--library={build.emulated_library()}",
    f"--json={written}",
    "--small",
    "--seconds=0",
  )
  assert done.returncode == 1
  assert "answers: left out, the time is over" in done.stdout
