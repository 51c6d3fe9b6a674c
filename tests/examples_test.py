"""The examples run, and find what exhaustive scoring finds."""

import os

import pytest

from tests.conftest import ROOT, run_python


@pytest.mark.slow
@pytest.mark.parametrize("scorer", ["numpy", "onnx", "tensorflow"])
def test_example_finds_what_exhaustive_scoring_finds(scorer: str) -> None:
  if scorer == "onnx":
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
  path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
  done = run_python(f"examples/{scorer}_scorer.py", PYTHONPATH=path)
  assert done.returncode == 0, done.stderr
  recall = float(done.stdout.split("recall@100 ")[1].split(",")[0])
  assert recall > 0.95
