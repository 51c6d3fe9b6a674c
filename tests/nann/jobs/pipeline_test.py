"""All jobs through main.py, as a user runs them."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from nann import paths
from tests import browser
from tests.conftest import (
  ROOT,
  TRAIN_FLAGS,
  Run,
  main,
  read_log,
  run_python,
  write_csv,
)


@pytest.fixture
def copy(small_run: Run, tmp_path: pathlib.Path) -> Run:
  """A copy of the small run that a test may change."""
  return Run(
    shutil.copytree(small_run.dataset_dir, tmp_path / "data"),
    shutil.copytree(small_run.output_root, tmp_path / "output"),
  )


def test_each_job_writes_what_the_next_one_reads(small_run: Run) -> None:
  output = paths.OutputPaths(small_run.output_root)
  item_ids = np.load(output.item_ids)
  embeddings = np.load(output.item_embeddings)
  assert item_ids.tolist() == list(range(1, len(item_ids) + 1))
  assert embeddings.shape == (len(item_ids), 16)
  for name in (
    "enter_points.npy",
    "neighbors_level_0_values.npy",
    "neighbors_level_0_row_splits.npy",
    "graph_values.npy",
    "graph_row_splits.npy",
    "medoids.npy",
    "manifest.json",
  ):
    assert (output.index / name).exists()
  log = read_log(small_run)
  assert log[-1]["loss"] < log[0]["loss"]
  assert list(output.tensorboard.glob("events.out.tfevents.*"))


@pytest.mark.parametrize("policy", ["best_first", "paper"])
def test_test_measures_and_writes(copy: Run, policy: str) -> None:
  done = main(
    "test",
    *copy.flags,
    "--topk-eval=5,20",
    f"--search-policy={policy}",
    "--search-mode=graph",
    "--sweep",
  )
  metrics = paths.OutputPaths(copy.output_root).metrics
  report = json.loads((metrics / "test.json").read_text())
  assert f"NANN, {policy}" in done.stdout
  assert {row["k"] for row in report["recall"]} == {5, 20}
  methods = [row["method"] for row in report["recall"]]
  assert methods[: len(methods) // 2] == [
    f"NANN, {policy}",
    "exact scoring",
    "most popular",
    "item-item cosine",
    "item-item, no history",
    "history first",
  ]
  agreement = report["agreement"][-1]
  assert 0 <= agreement["coverage_min"] <= agreement["coverage"]["mean"] <= 1
  assert report["num_scored"]["mean"] > 0
  assert len(report["sweep"]) > 10
  for picture in ("test.png", "sweep.png"):
    assert (metrics / picture).read_bytes().startswith(b"\x89PNG")


def test_tuned_search_is_the_one_that_test_uses(copy: Run) -> None:
  flags = ["--topk-eval=10", "--search-mode=graph", "--nobaselines"]
  main("tune", *copy.flags, *flags, "--target-coverage=0.9")
  output = paths.OutputPaths(copy.output_root)
  tuned = json.loads(output.search_settings.read_text())
  assert tuned["coverage"] >= 0.9
  assert (output.metrics / "tune.png").exists()

  def used(*more: str) -> dict:
    main("test", *copy.flags, *flags, *more)
    return json.loads((output.metrics / "test.json").read_text())["settings"]

  assert used()["ef"] == tuned["settings"]["ef"]
  assert used("--ef=77")["ef"] == 77
  # Settings of one policy say nothing of the other.
  assert used("--search-policy=paper")["widths"][0] == 400
  # Another graph, even beside the same HNSW: not used, and it is said.
  main("build_index", *copy.flags, "--flat-neighbors=4")
  done = main("test", *copy.flags, *flags)
  assert "was tuned for another model or index" in done.stdout


def test_tune_refuses_what_cannot_be_reached(copy: Run) -> None:
  done = run_python(
    "main.py",
    "--job-type=tune",
    *copy.flags,
    "--topk-eval=20",
    "--max-evaluations=21",
    "--target-coverage=1",
  )
  assert done.returncode != 0
  assert "no setting reaches --target-coverage 1" in done.stderr
  assert not paths.OutputPaths(copy.output_root).search_settings.exists()


@pytest.mark.parametrize("mode", ["graph", "scan"])
def test_history_can_be_left_out(copy: Run, mode: str) -> None:
  flags = ["--exclude-history", f"--search-mode={mode}", "--nobaselines"]
  main("test", *copy.flags, *flags, "--topk-eval=20")
  metrics = paths.OutputPaths(copy.output_root).metrics
  report = json.loads((metrics / "test.json").read_text())
  assert report["method"] == {"graph": "best_first"}.get(mode, mode)
  ours = report["recall"][0]
  share = ours["novel_targets"]["count"] / ours["all_targets"]["count"]
  # A target in the history cannot be found, the others can.
  assert ours["all_targets"]["mean"] == pytest.approx(
    share * ours["novel_targets"]["mean"]
  )


def test_test_all_agrees_with_test(copy: Run) -> None:
  main("test_all", *copy.flags, "--topk-eval=20")
  main("test", *copy.flags, "--topk-eval=20")
  metrics = paths.OutputPaths(copy.output_root).metrics
  of_all = json.loads((metrics / "test_all.json").read_text())["recall"]
  of_test = json.loads((metrics / "test.json").read_text())["recall"]
  by_method = {row["method"]: row["all_targets"] for row in of_test}
  for row in of_all:
    assert row["all_targets"] == by_method[row["method"]]


def test_fewer_users_than_asked_are_used_and_said(copy: Run) -> None:
  done = main("test", *copy.flags, "--nobaselines")
  assert "test users are there, not 10,000" in done.stdout
  done = main("test", *copy.flags, "--nobaselines", "--num-test-batch=3")
  assert "NOTE" not in done.stdout


def test_documented_commands_do_what_the_jobs_do(
  small_run: Run, tmp_path: pathlib.Path
) -> None:
  csv = write_csv(tmp_path / "log.csv", num_users=300, seed=1)
  done = run_python(
    "nann/data_provider/convert_UB_to_tfrecord.py",
    *("-i", str(csv), "-o", str(tmp_path / "data"), "--train-min-length=4"),
  )
  assert done.returncode == 0, done.stderr
  meta = [
    json.loads(paths.DatasetPaths(folder).meta.read_text())
    for folder in (small_run.dataset_dir, tmp_path / "data")
  ]
  assert meta[0] == meta[1]
  embeddings = paths.OutputPaths(small_run.output_root).item_embeddings
  index = tmp_path / "index"
  done = run_python(
    "nann/delivery/build_hnsw_index.py",
    *("-i", str(embeddings), "-o", str(index), "--index-threads=1"),
  )
  assert done.returncode == 0, done.stderr
  assert (index / "enter_points.npy").exists()


def test_training_ends_within_its_time_budget(
  small_run: Run, tmp_path: pathlib.Path
) -> None:
  run = Run(small_run.dataset_dir, tmp_path)
  done = main(
    "train",
    *run.flags,
    *TRAIN_FLAGS,
    "--train-epochs=100000",
    "--time-budget=0.15",
    "--num-validations=0",
  )
  last = read_log(run)[-1]["step"]
  assert f"step {last:,}/{last:,} " in done.stdout
  assert last < 100_000


class TestRefusals:
  def refused(self, job: str, *flags: str) -> str:
    done = run_python("main.py", f"--job-type={job}", *flags)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr

  def test_index_of_other_embeddings(self, copy: Run) -> None:
    # Another model, and embeddings of it, but the index of the first.
    output = paths.OutputPaths(copy.output_root)
    shutil.rmtree(output.model)
    main("train", *copy.flags, *TRAIN_FLAGS, "--seed=2", "--max-train-steps=3")
    assert "was made from another model" in self.refused("test", *copy.flags)
    main("extract_feature", *copy.flags)
    assert "was made from another" in self.refused("test", *copy.flags)

  def test_data_of_another_size(
    self, copy: Run, tmp_path: pathlib.Path
  ) -> None:
    csv = write_csv(tmp_path / "other.csv", num_users=60, seed=8)
    main("prepare_data", *copy.flags, f"--input={csv}")
    message = self.refused("extract_feature", *copy.flags)
    assert "run --job-type train again" in message

  def test_another_model_in_the_folder(self, copy: Run) -> None:
    message = self.refused("train", *copy.flags, *TRAIN_FLAGS, "--emb-dim=16")
    assert "holds another model" in message

  @pytest.mark.parametrize(
    ("scorer", "flag"),
    [("attention", "--batch-size"), ("nann_plus", "--sequence-batch")],
  )
  def test_too_large_a_batch(
    self, copy: Run, tmp_path: pathlib.Path, scorer: str, flag: str
  ) -> None:
    run = Run(copy.dataset_dir, tmp_path / "new")
    flags = [*TRAIN_FLAGS, f"--scorer={scorer}", f"{flag}=1000000"]
    message = self.refused("train", *run.flags, *flags)
    assert "lower --batch-size (nann_plus: --sequence-batch)" in message

  def test_missing_model(self, copy: Run, tmp_path: pathlib.Path) -> None:
    run = Run(copy.dataset_dir, tmp_path / "new")
    message = self.refused("extract_feature", *run.flags)
    assert "run --job-type train" in message

  def test_loss_that_is_no_number(
    self, copy: Run, tmp_path: pathlib.Path
  ) -> None:
    run = Run(copy.dataset_dir, tmp_path / "new")
    message = self.refused(
      "train", *run.flags, *TRAIN_FLAGS, "--learning-rate=1e30"
    )
    assert "the loss became" in message
    assert "Lower --learning-rate" in message
    path = paths.OutputPaths(run.output_root).bad_batch
    assert str(path) in message
    with np.load(path) as batch:
      assert batch["negatives"].min() >= 1
      assert len(batch["target"]) == len(batch["negatives"])


def test_disk_that_is_full_leaves_the_last_good_checkpoint(
  small_run: Run, tmp_path: pathlib.Path
) -> None:
  run = Run(small_run.dataset_dir, tmp_path / "output")
  flags = [*run.flags, *TRAIN_FLAGS, "--max-train-steps=40", "--save-freq=10"]
  main("train", *run.flags, *TRAIN_FLAGS, "--max-train-steps=10")
  model = paths.OutputPaths(run.output_root).model
  good = tf.train.latest_checkpoint(str(model))
  # Files of more than 64 KiB cannot be written: none of the variables' is less.
  limited = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE,"
  limited += " (65536, 65536)); runpy.run_path('main.py', run_name='__main__')"
  done = subprocess.run(
    [sys.executable, "-c", limited, "--job-type=train", *flags],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode != 0
  assert "the checkpoint of step 20 could not be written" in done.stderr
  assert "Traceback" not in done.stderr
  assert tf.train.latest_checkpoint(str(model)) == good
  assert not list(model.glob("*ckpt-20*"))
  assert "going on from step 10" in main("train", *flags).stdout
  assert read_log(run)[-1]["step"] == 40


@pytest.mark.parametrize(
  "scorer", [pytest.param("attention", marks=pytest.mark.soak), "nann_plus"]
)
def test_killed_training_goes_on_as_if_nothing_had_happened(
  small_run: Run, tmp_path: pathlib.Path, scorer: str
) -> None:
  flags = [
    *TRAIN_FLAGS,
    f"--scorer={scorer}",
    "--sequence-batch=8",
    "--save-freq=5",
    "--max-train-steps=40",
  ]
  whole = Run(small_run.dataset_dir, tmp_path / "whole")
  main("train", *whole.flags, *flags)
  killed = Run(small_run.dataset_dir, tmp_path / "killed")
  process = subprocess.Popen(
    [sys.executable, "main.py", "--job-type=train", *killed.flags, *flags],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    text=True,
  )
  assert process.stdout is not None
  for line in process.stdout:
    if "step 15/" in line:
      break
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert 10 <= read_log(killed)[-1]["step"] < 40
  done = main("train", *killed.flags, *flags)
  assert "going on from step" in done.stdout
  assert read_log(killed) == read_log(whole)
  weights = [
    tf.train.load_checkpoint(str(paths.OutputPaths(run.output_root).model))
    for run in (whole, killed)
  ]
  for name in weights[0].get_variable_to_shape_map():
    # How long it took is for the clock to say.
    if "SAVE_COUNTER" in name.upper() or name.startswith(("_", "seconds")):
      continue
    np.testing.assert_array_equal(
      weights[0].get_tensor(name), weights[1].get_tensor(name), err_msg=name
    )


def test_finished_training_has_nothing_to_do(small_run: Run) -> None:
  done = main("train", *small_run.flags, *TRAIN_FLAGS)
  assert "nothing to do" in done.stdout


@pytest.mark.slow
def test_demo_ends_with_a_page_that_a_browser_shows(
  tmp_path: pathlib.Path,
) -> None:
  begin = time.monotonic()
  done = main(
    "demo",
    f"--output-root={tmp_path}",
    f"--dataset-dir={tmp_path / 'data'}",
    "--synthetic-users=600",
    "--synthetic-items=800",
    "--synthetic-categories=30",
    "--max-train-steps=25",
    "--print-freq=5",
  )
  assert time.monotonic() - begin < 240
  page = tmp_path / "report.html"
  assert str(page) in done.stdout
  text = page.read_text()
  # Self-contained: nothing is fetched.
  assert "http://" not in text.replace("http://www.w3.org/", "")
  assert "<script" not in text
  shown = browser.dom_of(page, tmp_path / "browser")
  for section in (
    'id="recall"',
    'id="search"',
    'id="training"',
    'id="users"',
    'id="configuration"',
  ):
    assert section in shown
  assert shown.count("<svg") == 4
  assert shown.count('class="user"') == 5
  assert "history first" in shown


def test_real_log_with_rows_outside_the_window(
  shared: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  done = main(
    "prepare_data",
    f"--input={shared / 'data' / 'taobao_head100k.csv.gz'}",
    f"--test-users={shared / 'data' / 'taobao_head100k.test_users.txt'}",
    "--time-window=1511539200,1512316800",
    f"--dataset-dir={tmp_path}",
  )
  assert "44 rows dropped: outside the time window" in done.stdout
  assert "line 3392" in done.stdout
