import json
import pathlib

import pytest

from tests.conftest import run_python

pytestmark = pytest.mark.slow


def test_small_run_has_every_figure(tmp_path: pathlib.Path) -> None:
  path = tmp_path / "figures.json"
  done = run_python(
    "benchmark/train_throughput.py",
    "--items=500",
    "--batch-size=8",
    "--num-neg=4",
    "--steps=2",
    f"--json={path}",
  )
  assert done.returncode == 0, done.stderr
  figures = json.loads(path.read_text())["figures"]
  step_s = figures["step_ms"] / 1e3
  assert figures["samples_per_s"] * step_s == pytest.approx(8)
  assert figures["pairs_per_s"] * step_s == pytest.approx(8 * 5)
  assert figures["first_step_s"] > step_s
  assert figures["sampler_share"] > 0
  assert 0 < figures["peak_rss_gb"] < 5
