"""Files written whole or not at all, and read with a clear error.

Everything goes to a temporary name first and is renamed when complete.
"""

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

# How a file is mapped; see `load_array`.
MapMode = Literal["r", "c"]

_CHUNK_BYTES = 1 << 24


def checksum(path: pathlib.Path) -> str:
  """Returns the SHA-256 of a file as hexadecimal digits.

  Of a file that has not changed since the last call it is not computed again:
  several loaders ask for those of the same large arrays.
  """
  stat = path.stat()
  return _checksum(
    path.absolute(), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
  )


@functools.lru_cache(maxsize=4096)
def _checksum(
  path: pathlib.Path, size_bytes: int, modified_ns: int, changed_ns: int
) -> str:
  del size_bytes, modified_ns, changed_ns  # What tells a file from its former.
  digest = hashlib.sha256()
  with open(path, "rb") as file:
    while chunk := file.read(_CHUNK_BYTES):
      digest.update(chunk)
  return digest.hexdigest()


@contextlib.contextmanager
def written_whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a temporary path that becomes `path` if the block succeeds."""
  path.parent.mkdir(parents=True, exist_ok=True)
  # The suffix stays last: np.save and matplotlib look at it.
  temporary = path.with_name(f".{os.getpid()}.{path.name}")
  try:
    yield temporary
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def save_array(path: pathlib.Path, array: np.ndarray) -> None:
  """Writes an .npy file whole."""
  with written_whole(path) as temporary:
    np.save(temporary, array, allow_pickle=False)


def load_array(
  path: pathlib.Path, made_by: str, mode: MapMode = "r"
) -> np.ndarray:
  """Maps an .npy file into memory.

  Args:
    path: The file.
    made_by: The job that writes it, for the error message.
    mode: r, to read only; c: what is written stays in memory. NumPy hands only
      the latter over without a copy.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: The file is truncated or no .npy file.
  """
  if not path.exists():
    raise FileNotFoundError(f"{path} is missing; run --job-type {made_by}")
  try:
    # An empty array cannot be mapped.
    array: np.ndarray = np.load(path, allow_pickle=False, mmap_mode=mode)
  except (ValueError, OSError, EOFError) as error:
    with contextlib.suppress(ValueError, OSError, EOFError):
      return np.load(path, allow_pickle=False)
    raise ValueError(
      f"{path} is truncated or no .npy file ({error}); run --job-type"
      f" {made_by} again"
    ) from error
  return array


def save_json(path: pathlib.Path, content: Any) -> None:
  """Writes a JSON file whole, indented, keys in the given order."""
  with written_whole(path) as temporary:
    temporary.write_text(json.dumps(content, indent=2) + "\n")


def load_json(path: pathlib.Path, made_by: str) -> Any:
  """Reads a JSON file; errors name the job that writes it."""
  if not path.exists():
    raise FileNotFoundError(f"{path} is missing; run --job-type {made_by}")
  try:
    return json.loads(path.read_text())
  except (json.JSONDecodeError, UnicodeDecodeError) as error:
    raise ValueError(
      f"{path} is no JSON file ({error}); run --job-type {made_by} again"
    ) from error


@contextlib.contextmanager
def folder_written_whole(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a temporary folder that replaces `folder` if the block succeeds."""
  folder.parent.mkdir(parents=True, exist_ok=True)
  temporary = pathlib.Path(
    tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent)
  )
  replaced = temporary.with_name(f"{temporary.name}-old")
  try:
    yield temporary
    temporary.chmod(0o755)
    # Never half there, even for those who look in the meantime.
    if folder.exists():
      os.replace(folder, replaced)
    os.replace(temporary, folder)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(replaced, ignore_errors=True)
