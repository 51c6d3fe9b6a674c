"""The index folder: the graph as .npy files under the documented names."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from nann import files, manifest, paths
from nann.index.graph import HnswGraph, Index, Level

_JOB = "build_index"


def save(
  folder: pathlib.Path,
  index: Index,
  parents: Mapping[str, str],
  facts: Mapping[str, Any],
) -> None:
  """Writes an index folder whole, in place of the one that was there.

  Args:
    folder: The folder.
    index: The graphs.
    parents: Checksums of what it was built from.
    facts: Settings and findings of the build.
  """
  with files.folder_written_whole(folder) as temporary:
    if index.flat is not None:
      (level,) = index.flat.levels
      np.save(temporary / paths.MEDOIDS, index.flat.entry_points)
      np.save(temporary / paths.GRAPH_VALUES, level.values)
      np.save(temporary / paths.GRAPH_ROW_SPLITS, level.row_splits)
    np.save(temporary / paths.ENTRY_POINTS, index.hnsw.entry_points)
    for number, level in enumerate(index.hnsw.levels):
      np.save(temporary / paths.neighbor_values(number), level.values)
      np.save(temporary / paths.neighbor_row_splits(number), level.row_splits)
    manifest.write_manifest(temporary, parents, facts)


def load(
  folder: pathlib.Path, mode: files.MapMode = "r"
) -> tuple[Index, dict[str, Any]]:
  """Reads an index folder, ours or the original's (which has no manifest).

  Args:
    folder: The folder.
    mode: How the graphs are mapped, as `files.load_array` has it.

  Returns:
    The graphs, and the manifest: empty for the original's.

  Raises:
    FileNotFoundError: A file is missing.
    ValueError: A file is truncated, foreign, or does not fit the others.
  """
  content: dict[str, Any] = {}
  if (folder / paths.MANIFEST).exists():
    content = manifest.check_manifest(folder, _JOB)
  entry_points = files.load_array(folder / paths.ENTRY_POINTS, _JOB)
  levels: list[Level] = []
  while not levels or (folder / paths.neighbor_values(len(levels))).exists():
    number = len(levels)
    levels.append(
      _load_level(
        folder,
        paths.neighbor_values(number),
        paths.neighbor_row_splits(number),
        mode,
      )
    )
  hnsw = HnswGraph(tuple(levels), entry_points.astype(np.int32, copy=False))
  flat = None
  if (folder / paths.GRAPH_VALUES).exists():
    medoids = files.load_array(folder / paths.MEDOIDS, _JOB)
    level = _load_level(
      folder, paths.GRAPH_VALUES, paths.GRAPH_ROW_SPLITS, mode
    )
    flat = HnswGraph((level,), medoids.astype(np.int32, copy=False))
  index = Index(hnsw, flat)
  try:
    index.check()
  except ValueError as error:
    raise ValueError(
      f"{folder}: {error}; run --job-type {_JOB} again"
    ) from error
  return index, content


def _load_level(
  folder: pathlib.Path,
  values_name: str,
  row_splits_name: str,
  mode: files.MapMode,
) -> Level:
  values = files.load_array(folder / values_name, _JOB, mode)
  splits = files.load_array(folder / row_splits_name, _JOB, mode)
  for name, array in ((values_name, values), (row_splits_name, splits)):
    if array.ndim != 1 or array.dtype.kind not in "iu":
      raise ValueError(
        f"{folder / name} has shape {array.shape} and dtype {array.dtype},"
        f" wanted one row of integers; run --job-type {_JOB} again"
      )
  return Level(
    values.astype(np.int32, copy=False), splits.astype(np.int64, copy=False)
  )
