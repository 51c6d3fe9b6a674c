"""A model, embeddings and an index of the original system, through main.py."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from nann import paths
from tests.conftest import Run, main, read_log, run_python


class TestOriginalModel:
  """The documented pretrained model, unpacked into the output folder."""

  @pytest.fixture
  def run(self, original: pathlib.Path, tmp_path: pathlib.Path) -> Run:
    shutil.copytree(original / "checkpoint", tmp_path / "model")
    return Run(original / "data", tmp_path)

  def test_every_job_uses_it_as_it_is(
    self, run: Run, original: pathlib.Path
  ) -> None:
    main("extract_feature", *run.flags)
    embeddings = np.load(paths.OutputPaths(run.output_root).item_embeddings)
    item_ids = np.load(original / "embeddings" / "item_ids.npy")
    expected = np.load(original / "embeddings" / "item_embs.npy")
    np.testing.assert_allclose(embeddings[item_ids - 1], expected, atol=1e-5)
    main("build_index", *run.flags)
    done = main("test", *run.flags)
    assert "no baselines" in done.stdout
    report = json.loads((run.output_root / "metrics/test.json").read_text())
    assert report["agreement"][0]["coverage"]["mean"] > 0.98

  def test_its_embeddings_and_index_are_used_as_they_are(
    self, run: Run, original: pathlib.Path
  ) -> None:
    for name in ("embeddings", "index"):
      shutil.copytree(original / name, run.output_root / name)
    flags = ["--search-policy=paper", "--item-state-dtype=float32"]
    main("test", *run.flags, *flags, "--num-test-batch=200")
    report = json.loads((run.output_root / "metrics/test.json").read_text())
    expected = np.load(original / "retrieval.npz")["num_scored"].mean(axis=0)
    np.testing.assert_allclose(report["num_scored"]["per_step"], expected)

  def test_training_starts_from_it(
    self, original: pathlib.Path, tmp_path: pathlib.Path
  ) -> None:
    def first_loss(*flags: str) -> float:
      folder = tmp_path / str(len(flags))
      run = Run(original / "data", folder)
      main(
        "train",
        *run.flags,
        "--scorer=attention",
        "--batch-size=256",
        "--num-neg=16",
        "--max-train-steps=1",
        "--nomask-padding",
        *flags,
      )
      return read_log(run)[0]["loss"]

    trained = first_loss(f"--init-from={original / 'checkpoint'}")
    assert trained < first_loss() - 0.5

  def test_scorer_that_counts_is_refused(
    self, original: pathlib.Path, tmp_path: pathlib.Path
  ) -> None:
    run = Run(original / "data", tmp_path)
    done = run_python("main.py", "--job-type=train", *run.flags)
    assert done.returncode != 0
    assert "such as --scorer attention" in done.stderr

  def test_training_goes_on_where_it_lies(self, run: Run) -> None:
    flags = ["--batch-size=256", "--num-neg=16", "--max-train-steps=2"]
    done = main("train", *run.flags, *flags)
    assert "starting from" in done.stdout
    # The folder now holds our model, and later jobs take that one.
    main("extract_feature", *run.flags)
    done = main("train", *run.flags, *flags)
    assert "nothing to do" in done.stdout
