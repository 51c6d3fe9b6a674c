"""Scorers beside the original's, from records to an exported model."""

import json
import pathlib

import pytest

from nann import model_store, paths
from nann.model.nann_plus import NannPlusScorer
from tests.conftest import TRAIN_FLAGS, Run, main

pytestmark = pytest.mark.slow


def coverage_after_training(run: Run) -> float:
  """Runs the jobs that follow; returns the mean coverage of the search."""
  main("extract_feature", *run.flags)
  main("build_index", *run.flags, "--hnsw-num-neighbors=4")
  main("test", *run.flags, "--topk-eval=10", "--search-mode=graph", "--ef=60")
  report = paths.OutputPaths(run.output_root).metrics / "test.json"
  agreement = json.loads(report.read_text())["agreement"]
  return float(agreement[0]["coverage"]["mean"])


def test_scorer_of_the_users_own_runs_the_whole_path(
  small_run: Run, tmp_path: pathlib.Path
) -> None:
  run = Run(small_run.dataset_dir, tmp_path)
  main(
    "train",
    *run.flags,
    *TRAIN_FLAGS,
    "--scorer=examples.keras_scorer:KerasScorer",
    "--max-train-steps=20",
  )
  assert coverage_after_training(run) > 0.5


def test_weight_of_neighbors_is_given_where_nobody_chooses_it(
  small_run: Run, tmp_path: pathlib.Path
) -> None:
  run = Run(small_run.dataset_dir, tmp_path)
  flags = ["--scorer=nann_plus", "--max-train-steps=2", "--train-on-validation"]
  done = main(
    "train", *run.flags, *TRAIN_FLAGS, *flags, "--neighbors-weight=1.5"
  )
  assert "validation targets" not in done.stdout
  scorer = model_store.load(paths.OutputPaths(tmp_path).model).scorer
  assert isinstance(scorer, NannPlusScorer)
  assert float(scorer.neighbors.weight) == 1.5


def test_nann_plus_runs_the_whole_path(
  small_run: Run, tmp_path: pathlib.Path
) -> None:
  run = Run(small_run.dataset_dir, tmp_path)
  done = main(
    "train",
    *run.flags,
    *TRAIN_FLAGS,
    "--scorer=nann_plus",
    "--train-epochs=9",
    "--sequence-batch=16",
    "--sequence-negatives=64",
    "--max-train-steps=40",
    "--num-validations=2",
  )
  assert "counting: " in done.stdout
  assert "weight of neighbors" in done.stdout
  assert "step 20: recall@200" in done.stdout
  assert (paths.OutputPaths(tmp_path).model / "best.index").exists()
  assert coverage_after_training(run) > 0.8
  done = main("export", *run.flags)
  assert "signatures retrieve, score, serving_default" in done.stdout
