"""Job export through main.py."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from nann import files, model_store, paths
from nann.data_provider import dataset
from nann.delivery import verify
from tests.conftest import ROOT, Run, main, run_python


def copied(run: Run, folder: pathlib.Path) -> Run:
  """Copies what export reads, to write beside it."""
  for name in ("model", "embeddings", "index"):
    shutil.copytree(run.output_root / name, folder / name)
  return Run(run.dataset_dir, folder)


@pytest.fixture
def run(small_run: Run, tmp_path: pathlib.Path) -> Run:
  return copied(small_run, tmp_path)


def checksums(folder: pathlib.Path) -> dict[pathlib.Path, str]:
  return {
    path.relative_to(folder): files.checksum(path)
    for path in sorted(folder.rglob("*"))
    if path.is_file()
  }


def versions(run: Run) -> list[str]:
  folder = paths.OutputPaths(run.output_root).export.versions
  return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def exported(
  small_run: Run, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, str, dict[pathlib.Path, str]]:
  """An export: the run, what was printed, and the inputs before it."""
  run = copied(small_run, tmp_path_factory.mktemp("exported"))
  before = checksums(run.output_root)
  done = main("export", *run.flags, "--topk-eval=20")
  return run, done.stdout, before


def test_export_writes_all_that_is_documented(
  exported: tuple[Run, str, dict[pathlib.Path, str]],
) -> None:
  run, printed, before = exported
  after = checksums(run.output_root)
  assert {path: after[path] for path in before} == before
  written = {str(path) for path in set(after) - set(before)}
  version = "export/nann/1"
  for name in (
    "export/exec.pb",
    "export/exec.pbtxt",
    "export/exec.meta.pb",
    "export/exec.meta.pbtxt",
    "export/scorer.json",
    "export/checkpoint",
    "export/assets/arrays.json",
    "export/converted_model/frozen_graph.pb",
    "export/converted_model/0.meta",
    f"{version}/saved_model.pb",
    f"{version}/assets/arrays.json",
    f"{version}/assets.extra/nann.json",
    f"{version}/assets.extra/tf_serving_warmup_requests",
  ):
    assert name in written
  assert not list((run.output_root / "export").glob(".staging*"))
  base_path = run.output_root / "export" / "nann"
  assert f"--model-base-path {base_path}" in printed
  facts = json.loads(
    (run.output_root / version / "assets.extra/nann.json").read_text()
  )
  assert facts["scorer"] == "attention"
  assert facts["history_width"] == 16
  assert facts["search"]["k"] == 20
  # The checkpoint is one that jobs and commands can read.
  stored = model_store.load(run.output_root / "export")
  assert stored.fingerprint() == facts["parents"]["model"]


def test_warm_up_requests_are_answered(
  exported: tuple[Run, str, dict[pathlib.Path, str]],
) -> None:
  run, _, _ = exported
  version = paths.OutputPaths(run.output_root).export.version(1)
  session, signatures = verify.open_saved_model(version)
  answers = verify.answers_of(session, signatures)
  data = dataset.load(run.dataset_dir)
  assert data.catalogue.raw_item_ids is not None
  asked = set()
  records = tf.data.TFRecordDataset(str(version / paths.WARMUP_REQUESTS))
  for record in records.as_numpy_iterator():
    log = prediction_log_pb2.PredictionLog.FromString(record)
    request = log.predict_log.request
    inputs = {
      name: tf.make_ndarray(value) for name, value in request.inputs.items()
    }
    name = request.model_spec.signature_name
    asked.add(name)
    got = answers(name)(inputs)
    if name == "retrieve":
      assert np.isin(got["item_ids"], data.catalogue.raw_item_ids).all()
  assert asked == {"retrieve", "score", "serving_default"}


def test_version_is_the_next_or_the_one_asked_for(run: Run) -> None:
  flags = [*run.flags, "--topk-eval=20", "--num-proof-users=3"]
  main("export", *flags, "--export-version=4")
  main("export", *flags, "--search-mode=graph", "--export-ops=stock")
  assert versions(run) == ["4", "5"]
  before = checksums(run.output_root)
  done = run_python(
    "main.py", "--job-type=export", *flags, "--export-version=5"
  )
  assert done.returncode != 0
  assert "version 5 is in" in done.stderr
  assert "Traceback" not in done.stderr
  assert checksums(run.output_root) == before


def test_export_uses_what_was_tuned(run: Run) -> None:
  flags = [*run.flags, "--topk-eval=10", "--search-mode=graph"]
  main("tune", *flags, "--target-coverage=0.9")
  output = paths.OutputPaths(run.output_root)
  tuned = json.loads(output.search_settings.read_text())
  main("export", *flags, "--num-proof-users=30")
  path = output.export.version(1) / paths.EXPORT_FACTS
  search = json.loads(path.read_text())["search"]
  assert search["ef"] == tuned["settings"]["ef"]
  assert search["num_entries"] == tuned["num_entries"]


def test_model_of_the_original_system(
  original: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  """Its rows are not in the order of the ids, and there are no other ids."""
  shutil.copytree(original / "checkpoint", tmp_path / "model")
  for name in ("embeddings", "index"):
    shutil.copytree(original / name, tmp_path / name)
  run = Run(original / "data", tmp_path)
  flags = ["--search-mode=graph", "--item-state-dtype=float32"]
  main("export", *run.flags, "--search-policy=paper", *flags)
  version = paths.OutputPaths(tmp_path).export.version(1)
  session, signatures = verify.open_saved_model(version)
  answer = verify.answers_of(session, signatures)("retrieve")
  users = np.load(original / "users.npz")["item_ids"][:20]
  got = answer({"history_item_ids": users.astype(np.int64)})
  wanted = np.load(original / "retrieval.npz")
  np.testing.assert_array_equal(
    got["num_scored"], wanted["num_scored"][:20].sum(axis=1)
  )
  # Rounding of its scores may let two neighbors change places.
  assert np.mean(got["item_ids"] == wanted["ids"][:20]) > 0.99


def killed_export(run: Run, seconds: float) -> bool:
  """Kills an export after some time; returns whether it was still running."""
  command = [sys.executable, "main.py", "--job-type=export", *run.flags]
  with subprocess.Popen(
    [*command, "--num-proof-users=5"],
    cwd=ROOT,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  ) as process:
    try:
      process.wait(seconds)
    except subprocess.TimeoutExpired:
      process.send_signal(signal.SIGKILL)
      return True
    return False


def check_whole(run: Run) -> Iterator[str]:
  """Checks every version that is there, and exec.pb; yields the versions."""
  export = paths.OutputPaths(run.output_root).export
  if not export.versions.exists():
    return
  for path in export.versions.iterdir():
    assert path.name.isdigit()
    verify.check_assets(path / paths.ASSETS)
    session, _ = verify.open_saved_model(path)
    session.close()
    assert (path / paths.WARMUP_REQUESTS).exists()
    yield path.name
  if export.exec_graph.exists():
    verify.open_exec_graph(export).close()
    expected = json.loads((export.assets / "arrays.json").read_text())
    for name in expected:
      assert (export.assets / name).exists()


def kill_exports(run: Run, number: int) -> None:
  """Kills exports at random points of theirs, and then lets one pass."""
  begin = time.monotonic()
  main("export", *run.flags, "--num-proof-users=5")
  longest = time.monotonic() - begin
  rng = np.random.default_rng(0)
  num_killed = 0
  for share in rng.random(number):
    # Not in the start of Python, where nothing can break.
    num_killed += killed_export(run, longest * (0.3 + 0.7 * share))
    assert list(check_whole(run))
  assert num_killed
  main("export", *run.flags, "--num-proof-users=5")
  assert list(check_whole(run))
  assert not list((run.output_root / "export").glob(".staging*"))


@pytest.mark.slow
def test_killed_export_shows_no_broken_version(run: Run) -> None:
  kill_exports(run, 3)


def test_missing_gpu_is_named(run: Run) -> None:
  done = run_python(
    "main.py", "--job-type=export", *run.flags, "--search-device=gpu"
  )
  if done.returncode == 0:
    pytest.skip("there is a GPU")
  assert (
    "has no kernel for GPUs" in done.stderr
    or "TensorFlow sees no GPU here" in done.stderr
  )
