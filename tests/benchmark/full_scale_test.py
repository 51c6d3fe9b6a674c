"""The path at full scale runs at a small share of it, and goes on."""

import json
import pathlib
from typing import Any

import pytest

from tests.conftest import run_python

pytestmark = pytest.mark.slow


def run(folder: pathlib.Path, rows: int, *flags: str) -> dict[str, Any]:
  """Runs the benchmark; returns its figures."""
  done = run_python(
    "benchmark/full_scale.py",
    f"--rows={rows}",
    f"--folder={folder / 'run'}",
    f"--json={folder / 'figures.json'}",
    *flags,
  )
  assert done.returncode == 0, done.stderr
  return dict(json.loads((folder / "figures.json").read_text())["figures"])


def test_steps_that_are_done_are_not_done_again(tmp_path: pathlib.Path) -> None:
  flags = ("--stop-before=start of training",)
  first = run(tmp_path, 50_000, *flags)
  rows = first["prepare_data: number"]
  assert 0.8 * 50_000 < rows < 1.2 * 50_000
  assert first["generate_log: peak_rss_gb"] > 0.01
  assert run(tmp_path, 50_000, *flags) == first
  # What follows a step that is to be done again is done again too.
  (tmp_path / "run" / "figures" / "prepare_data.json").unlink()
  again = run(tmp_path, 50_000, *flags)
  changed = {name.split(":")[0] for name in first if first[name] != again[name]}
  assert changed == {"prepare_data", "input alone"}


def test_one_percent_runs_through(tmp_path: pathlib.Path) -> None:
  found = run(tmp_path, 1_000_000, "--train-steps=5")
  assert found["extract_feature: number"] == found["prepare_data: num_items"]
  assert found["start of training: peak_rss_gb"] > 0.1
  assert found["start of training: first_step_s"] > 0
  assert found["test, best_first: number"] > 900
  assert found["test, best_first: coverage"] > 0.9
  assert found["test, paper: coverage"] > 0.8
  assert found["build_index: library_s"] < found["build_index: seconds"]
  assert found["prepare_data: peak_rss_gb"] < 6
