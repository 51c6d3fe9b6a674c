"""The study of the adversarial loss, on a small world."""

import json
import pathlib
from typing import Any

import adversarial_table
import pytest

from tests.conftest import Run, run_python


def cell(eps: float, method: str, coverages: list[float]) -> dict[str, Any]:
  """Returns what the study measures of a cell, made up."""
  share = {"mean": 0.5, "standard_error": 0.01, "count": 9}
  return {
    "data": "a",
    "scorer": "dnn",
    "method": method,
    "eps": eps,
    "seed": 0,
    "recall_all": {"all_targets": share, "novel_targets": None},
    "searches": [
      {
        # With the loss a search of the same width scores more.
        "scored": scored + 50 * (eps > 0),
        "coverage": {"mean": mean, "standard_error": 0.001, "count": 9},
        "recall_retrieval": share,
        "delta": 0.015,
      }
      for scored, mean in zip((100, 200, 300), coverages, strict=True)
    ],
  }


def test_coverage_is_compared_where_as_many_items_are_scored() -> None:
  table = adversarial_table.of_results(
    [
      cell(0.1, "pgd", [0.9, 0.94, 0.98]),
      cell(0.1, "fgsm", [0.9, 0.94, 0.98]),
      cell(0.0, "fgsm", [0.8, 0.9, 0.95]),
    ]
  )
  rows = [dict(zip(table.head, row, strict=True)) for row in table.rows]
  assert [row["loss"] for row in rows] == ["none", "fgsm", "pgd"]
  assert {row["at items scored"] for row in rows} == {"200"}
  # 200 lies between 150 and 250 of the searches with the loss.
  assert [row["coverage"] for row in rows] == [
    "0.900 ± 0.001",
    "0.920 ± 0.001",
    "0.920 ± 0.001",
  ]
  assert rows[0]["novel"] == "-"


def test_cell_without_its_model_without_the_loss_is_left_out() -> None:
  assert not adversarial_table.of_results([cell(0.1, "fgsm", [0.9] * 3)]).rows


@pytest.mark.slow
def test_study_goes_on_where_it_stopped(
  small_run: Run, tmp_path: pathlib.Path
) -> None:
  def run(eps: str) -> dict[str, Any]:
    path = tmp_path / "figures.json"
    done = run_python(
      "benchmark/adversarial_study.py",
      f"--output={tmp_path / 'study'}",
      f"--data=small={small_run.dataset_dir}",
      "--scorers=two_tower",
      "--methods=",
      f"--eps={eps}",
      "--base-steps=two_tower=4",
      "--steps=two_tower=2",
      "--batch-size=16",
      "--num-neg=4",
      f"--json={path}",
      PYTHONPATH=".",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(path.read_text())["figures"])

  first = run("0")
  assert first["cells_done"] == first["cells"] == 1
  both = run("0,0.5")
  assert both["cells_done"] == 2
  # The first one was not measured again: not even its time has changed.
  assert both["results"][0] == first["results"][0]
  assert both["results"][1]["eps"] == 0.5
  assert 0 < both["results"][1]["recall_all"]["all_targets"]["mean"] <= 1
