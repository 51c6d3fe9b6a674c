"""The ablation study, on a small world."""

import json
import pathlib
from typing import Any

import ablation_table
import pytest

from tests.conftest import Run, run_python


def cell(change: str, hits: str, seed: int = 0, **more: Any) -> dict[str, Any]:
  """Returns what the study measures of a cell, made up."""
  return {
    "data": "a",
    "change": change,
    "is_timed": False,
    "seed": seed,
    "steps": 10,
    "hits": hits,
    "novel": "1100",
    **more,
  }


def rows_of(*cells: dict[str, Any]) -> list[list[str]]:
  return [list(row) for row in ablation_table.of_results(cells).rows]


def test_differences_are_those_of_the_same_targets() -> None:
  none, other = rows_of(cell("none", "1101"), cell("no encoder", "0101"))
  assert none == [
    "a",
    "none",
    "steps",
    "10",
    "0.750 ± 0.250",
    "",
    "1.000 ± 0.000",
    "",
  ]
  # Of four targets one is lost: the error of that, not of two recalls.
  assert other[4:] == [
    "0.500 ± 0.289",
    "-0.250 ± 0.250",
    "0.500 ± 0.500",
    "-0.500 ± 0.500",
  ]


def test_seeds_are_averaged_target_by_target() -> None:
  none, other = rows_of(
    cell("none", "1111"),
    cell("none", "0000", seed=1, steps=20),
    cell("no encoder", "1010"),
  )
  assert none[3:5] == ["15", "0.500 ± 0.000"]
  assert other[5] == "+0.000 ± 0.289"


def test_change_without_its_base_is_left_out() -> None:
  assert rows_of(cell("none", "1111"), cell("x", "1111", is_timed=True)) == [
    ["a", "none", "steps", "10", "1.000 ± 0.000", "", "1.000 ± 0.000", ""]
  ]


@pytest.mark.slow
def test_study_measures_a_change(
  small_run: Run, tmp_path: pathlib.Path
) -> None:
  path = tmp_path / "figures.json"
  done = run_python(
    "benchmark/ablation.py",
    f"--output={tmp_path / 'study'}",
    f"--data=small={small_run.dataset_dir}",
    "--changes=no FISM",
    "--steps=2",
    "--time=0",
    f"--json={path}",
    PYTHONPATH=".",
  )
  assert done.returncode == 0, done.stdout + done.stderr
  (found,) = json.loads(path.read_text())["figures"]["results"]
  assert found["steps"] == 2
  assert len(found["hits"]) == len(found["novel"]) > 0


def test_unknown_change_is_named() -> None:
  done = run_python(
    "benchmark/ablation.py",
    "--data=small=nowhere",
    "--changes=no such part",
    PYTHONPATH=".",
  )
  assert done.returncode != 0
  assert "no such change: no such part" in done.stderr
