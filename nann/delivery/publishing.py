"""Versions of a model: made beside, published by one rename, or not at all."""

import contextlib
import dataclasses
import fcntl
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from nann import paths

_STAGING = ".staging-"


@dataclasses.dataclass(frozen=True)
class Staging:
  """A model on its way.

  Attributes:
    version: What it will be published as.
    files: exec.pb and what belongs to it.
    saved_model: The folder that becomes the version.
  """

  version: int
  files: paths.ExportPaths
  saved_model: pathlib.Path


@contextlib.contextmanager
def staging(target: paths.ExportPaths, version: int) -> Iterator[Staging]:
  """Yields folders to fill; they are gone after the block.

  What killed exports have left is removed first.

  Args:
    target: Where the model will be published.
    version: Its version; 0: the next free one.

  Raises:
    ValueError: The version exists, or another export is running.
  """
  target.versions.mkdir(parents=True, exist_ok=True)
  with _locked(target):
    number = _free_version(target, version)
    for leftover in target.root.glob(f"{_STAGING}*"):
      shutil.rmtree(leftover)
    folder = pathlib.Path(tempfile.mkdtemp(prefix=_STAGING, dir=target.root))
    try:
      staged = Staging(number, paths.ExportPaths(folder), folder / "version")
      staged.files.assets.mkdir()
      (staged.saved_model / paths.ASSETS).mkdir(parents=True)
      yield staged
    finally:
      shutil.rmtree(folder, ignore_errors=True)


def publish(staged: Staging, target: paths.ExportPaths) -> pathlib.Path:
  """Makes a model visible; returns the folder of the version."""
  _write_through(staged.files.root)
  version = target.version(staged.version)
  os.rename(staged.saved_model, version)
  _write_through_one(target.versions)
  publish_graph(staged, target)
  return version


def publish_graph(staged: Staging, target: paths.ExportPaths) -> None:
  """Makes exec.pb and what belongs to it visible."""
  _write_through(staged.files.root)
  target.assets.mkdir(exist_ok=True)
  kept = {path.name for path in staged.files.assets.iterdir()}
  # The arrays first: a graph finds its own at any time.
  for path in sorted(staged.files.assets.iterdir()):
    os.replace(path, target.assets / path.name)
  for path in sorted(staged.files.root.iterdir()):
    if path.is_file():
      os.replace(path, target.root / path.name)
  converted = staged.files.converted_model
  if converted.exists():
    target.converted_model.mkdir(exist_ok=True)
    for path in sorted(converted.iterdir()):
      os.replace(path, target.converted_model / path.name)
  for path in target.assets.iterdir():
    if path.name not in kept:
      path.unlink()
  _write_through_one(target.root)


def known_assets(target: paths.ExportPaths) -> list[pathlib.Path]:
  """Returns folders that hold arrays of earlier exports, newest first."""
  numbers = sorted(_versions(target), reverse=True)
  folders = [target.version(number) / paths.ASSETS for number in numbers]
  return [target.assets, *folders]


def _versions(target: paths.ExportPaths) -> list[int]:
  return [
    int(path.name) for path in target.versions.iterdir() if path.name.isdigit()
  ]


def _free_version(target: paths.ExportPaths, asked: int) -> int:
  found = _versions(target)
  if asked in found:
    raise ValueError(
      f"version {asked} is in {target.versions} already; choose another"
      " --export-version, or 0 for the next free one"
    )
  return asked or max(found, default=0) + 1


@contextlib.contextmanager
def _locked(target: paths.ExportPaths) -> Iterator[None]:
  """Keeps a second export out; the lock goes with its process."""
  with open(target.lock, "w") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      raise ValueError(
        f"another export to {target.root} is running; wait for it to end"
      ) from error
    yield


def _write_through(folder: pathlib.Path) -> None:
  """Waits until everything in a folder is on the disk."""
  for path in [*folder.rglob("*"), folder]:
    _write_through_one(path)


def _write_through_one(path: pathlib.Path) -> None:
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
