"""Job prepare_data: a behavior csv, or a synthetic one, becomes records."""

import dataclasses
import pathlib
import tempfile
import time

from nann import config, console
from nann.data_provider import prepare
from nann.jobs import synthetic_log


def run(settings: config.Config) -> None:
  """Runs the job."""
  dataset_dir = pathlib.Path(settings.paths.dataset_dir)
  if settings.data.input:
    _prepare(settings.data, dataset_dir, settings.run.seed)
    return
  console.say("no --input: generating synthetic behavior")
  dataset_dir.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(prefix=".log-", dir=dataset_dir) as folder:
    path = pathlib.Path(folder) / "synthetic.csv"
    synthetic_log.write(settings.data, path, settings.run.seed)
    data = dataclasses.replace(settings.data, input=(str(path),))
    _prepare(data, dataset_dir, settings.run.seed)


def _prepare(
  data: config.DataSettings, dataset_dir: pathlib.Path, seed: int
) -> None:
  begin = time.monotonic()
  prepared = prepare.prepare(data, dataset_dir, seed, console.say)
  seconds = time.monotonic() - begin
  rows, meta = prepared.rows, prepared.meta
  for kind, number in rows.bad.items():
    console.warn(
      f"{number:,} rows dropped: {kind} (first: {rows.first_bad[kind]})"
    )
  if rows.num_other_behavior:
    console.say(f"{rows.num_other_behavior:,} rows of other behaviors left out")
  for note in prepared.notes:
    console.warn(note)
  console.say(
    f"{meta['num_item']:,} items, {meta['num_cate']:,} categories; users:"
    f" {meta['num_train_user']:,} training, {meta['num_validate_user']:,}"
    f" validation, {meta['num_test_user']:,} test;"
    f" {meta['num_train_samples']:,} training windows"
  )
  console.say(
    f"{rows.num_rows:,} rows in {seconds:.1f} s"
    f" ({rows.num_rows / seconds:,.0f} rows/s) -> {dataset_dir}"
  )
