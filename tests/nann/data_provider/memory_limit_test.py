"""Data preparation in little memory."""

import os
import pathlib

import pytest

from nann import config
from nann.data_provider import prepare
from nann.jobs import synthetic_log


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """A log of about two million rows."""
  path = tmp_path_factory.mktemp("memory") / "log.csv"
  settings = config.DataSettings(
    synthetic_users=20_000, synthetic_items=50_000, synthetic_categories=500
  )
  synthetic_log.write(settings, path, 0)
  return path


def prepared(
  log: pathlib.Path, folder: pathlib.Path, memory_limit: str
) -> prepare.Prepared:
  settings = config.DataSettings(input=(str(log),), memory_limit=memory_limit)
  return prepare.prepare(settings, folder, 5)


@pytest.mark.slow
def test_little_memory_gives_the_same_files(
  log: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  with_much = prepared(log, tmp_path / "much", "4GB")
  # Each thread of the engine wants some of it.
  little = f"{60 * (os.cpu_count() or 1)}MB"
  with_little = prepared(log, tmp_path / "little", little)
  assert with_little.meta["sha256"] == with_much.meta["sha256"]


@pytest.mark.slow
def test_too_little_memory_names_the_flag_and_leaves_nothing(
  log: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  with pytest.raises(ValueError, match="--memory-limit 20MB is too little"):
    prepared(log, tmp_path, "20MB")
  assert not list(tmp_path.iterdir())
