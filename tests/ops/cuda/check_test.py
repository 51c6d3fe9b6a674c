"""The program that checks and times the search on a GPU, under the emulator."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from benchmark import cuda_check
from benchmark import cuda_library as cuda
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
  kinds = {row["what"] for row in result["rows"]}
  assert kinds == {"search", "exact scan", "trivial scorer", "metric"}
  assert all(row["queries_per_s"] > 0 for row in result["rows"])


def test_wrong_answers_are_counted(
  emulator: cuda.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
  right = pairs.World.scores
  monkeypatch.setattr(pairs.World, "scores", lambda self: right(self) + 1)
  # The five ways of scoring pairs, alone and in a search.
  assert cuda_check.check(emulator, 10) == 10
