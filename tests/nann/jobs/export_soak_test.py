"""Exports that are killed at any moment; run by make soak."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from nann import files, ops, paths
from nann.delivery import exec_graph, saved_model, verify
from tests.conftest import ROOT, Run

NUM_KILLS = 50


def start(run: Run) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, "main.py", "--job-type=export", *run.flags],
    cwd=ROOT,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
    start_new_session=True,
  )


def check_version(version: pathlib.Path) -> None:
  """Fails unless everything is there, at this very moment."""
  assert (version / paths.SAVED_MODEL).stat().st_size > 0
  assert (version / paths.WARMUP_REQUESTS).stat().st_size > 0
  assert files.load_json(version / paths.EXPORT_FACTS, "export")
  names = files.load_json(
    version / paths.ASSETS / saved_model.ASSETS_LIST, "export"
  )
  for name in names:
    assert (version / paths.ASSETS / name).stat().st_size > 0


class Watcher:
  """Looks at the base path as a server does, but without a pause."""

  def __init__(self, versions: pathlib.Path) -> None:
    self._versions = versions
    self._stop = threading.Event()
    self._seen: set[str] = set()
    self.faults: list[str] = []
    self._thread = threading.Thread(target=self._watch)

  def __enter__(self) -> "Watcher":
    self._thread.start()
    return self

  def __exit__(self, *_: object) -> None:
    self._stop.set()
    self._thread.join()

  def _watch(self) -> None:
    while not self._stop.wait(0.002):
      if not self._versions.is_dir():
        continue
      for path in self._versions.iterdir():
        if not path.name.isdigit() or path.name in self._seen:
          continue
        self._seen.add(path.name)
        try:
          check_version(path)
        except (AssertionError, OSError, ValueError) as error:
          self.faults.append(f"{path.name}: {error}")


def answers(version: pathlib.Path, raw_ids: np.ndarray) -> dict:
  session, signatures = verify.open_saved_model(version)
  with session:
    return verify.answers_of(session, signatures)("retrieve")(
      {"history_item_ids": raw_ids}
    )


def checksums(folder: pathlib.Path) -> dict[str, str]:
  return {
    str(path.relative_to(folder)): files.checksum(path)
    for path in sorted(folder.rglob("*"))
    if path.is_file()
  }


@pytest.mark.soak
def test_killed_exports_show_no_broken_version(
  small_run: Run, tmp_path: pathlib.Path
) -> None:
  ops.library()
  run = Run(small_run.dataset_dir, tmp_path / "output")
  shutil.copytree(small_run.output_root, run.output_root)
  shutil.rmtree(run.output_root / "export", ignore_errors=True)
  inputs = checksums(run.output_root)
  export = paths.OutputPaths(run.output_root).export
  begin = time.monotonic()
  assert start(run).wait() == 0
  seconds = time.monotonic() - begin
  raw_ids = np.array([[100, 101, 205, 310]])
  wanted = answers(export.version(1), raw_ids)
  assert (wanted["num_unknown"] < 4).all()
  rng = np.random.default_rng(0)
  num_killed = 0
  with Watcher(export.versions) as watcher:
    while num_killed < NUM_KILLS:
      begin = time.monotonic()
      process = start(run)
      try:
        process.wait(timeout=rng.uniform(0.0, seconds))
        # How long an export takes depends on what else runs.
        seconds = time.monotonic() - begin
      except subprocess.TimeoutExpired:
        # Now and then with its children.
        kill = os.killpg if num_killed % 2 else os.kill
        kill(process.pid, signal.SIGKILL)
        num_killed += 1
      process.wait()
      shown = sorted(path.name for path in export.versions.iterdir())
      for name in shown:
        assert name.isdigit(), name
        check_version(export.versions / name)
      # What lies beside the versions fits together, too.
      graph_def = exec_graph.read_graph(export.exec_graph)
      for name in exec_graph.assets_of(graph_def):
        assert (export.assets / name).exists()
      newest = max(shown, key=int)
      got = answers(export.versions / newest, raw_ids)
      for name, value in wanted.items():
        np.testing.assert_allclose(got[name], value, atol=1e-5)
  assert watcher.faults == []
  # The next export goes as if nothing had happened.
  assert start(run).wait() == 0
  assert not list(export.root.glob(".staging*"))
  after = checksums(run.output_root)
  assert {name: after[name] for name in inputs} == inputs
