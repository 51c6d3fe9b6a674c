"""The arrays of an exported model as .npy files, named by their content.

A file that an earlier export has written is linked, not written again: versions
of a model share its pages in memory.
"""

import hashlib
import os
import pathlib
import shutil
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from nann import files

_DIGITS = 12


def file_name(name: str, array: tf.Tensor) -> str:
  """Returns the name of the file of an array."""
  return f"{name}-{_digest(as_array(array))[:_DIGITS]}.npy"


def write(
  folder: pathlib.Path,
  arrays: Mapping[str, tf.Tensor],
  known: Iterable[pathlib.Path],
) -> None:
  """Writes the files of arrays.

  Args:
    folder: Folder to fill; it exists.
    arrays: By file name.
    known: Folders that may hold some of the files.
  """
  known = list(known)
  for name, tensor in arrays.items():
    array = as_array(tensor)
    for other in known:
      if _holds(other / name, array):
        link(other / name, folder / name)
        break
    else:
      np.save(folder / name, array, allow_pickle=False)


def as_array(tensor: tf.Tensor) -> np.ndarray:
  """Returns a tensor's numbers where they lie; `.numpy()` would copy them."""
  if tensor.dtype in (tf.string, tf.bfloat16):
    copied: np.ndarray = tensor.numpy()
    return copied
  return np.asarray(memoryview(tensor))


def link(source: pathlib.Path, target: pathlib.Path) -> None:
  """Gives a file a second name, or copies it where that cannot be done."""
  try:
    os.link(source, target)
  except OSError:
    shutil.copyfile(source, target)


def checksums(folder: pathlib.Path) -> dict[str, str]:
  """Returns the SHA-256 of each array file of a folder."""
  return {
    path.name: files.checksum(path) for path in sorted(folder.glob("*.npy"))
  }


def _digest(array: np.ndarray) -> str:
  digest = hashlib.sha256(f"{array.itemsize} {array.shape}".encode())
  digest.update(np.ascontiguousarray(array).view(np.uint8).data)
  return digest.hexdigest()


def _holds(path: pathlib.Path, array: np.ndarray) -> bool:
  """Returns whether a file is there and holds the array."""
  if not path.exists():
    return False
  try:
    found = np.load(path, mmap_mode="r", allow_pickle=False)
  except (ValueError, OSError, EOFError):
    return False
  return found.shape == array.shape and _digest(found) == _digest(array)
