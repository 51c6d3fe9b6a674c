"""The index folder: the graph as .npy files under the documented names."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from nann import files, manifest, paths
from nann.index.graph import HnswGraph, Level

_JOB = "build_index"


def save(
  folder: pathlib.Path,
  graph: HnswGraph,
  parents: Mapping[str, str],
  facts: Mapping[str, Any],
) -> None:
  """Writes an index folder whole, in place of the one that was there.

  Args:
    folder: The folder.
    graph: The graph.
    parents: Checksums of what it was built from.
    facts: Settings and findings of the build.
  """
  with files.folder_written_whole(folder) as temporary:
    np.save(temporary / paths.ENTRY_POINTS, graph.entry_points)
    for number, level in enumerate(graph.levels):
      np.save(temporary / paths.neighbor_values(number), level.values)
      np.save(temporary / paths.neighbor_row_splits(number), level.row_splits)
    manifest.write_manifest(temporary, parents, facts)


def load(folder: pathlib.Path) -> tuple[HnswGraph, dict[str, Any]]:
  """Reads an index folder, ours or the original's (which has no manifest).

  Returns:
    The graph, and the manifest: empty for the original's.

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
    values = files.load_array(folder / paths.neighbor_values(number), _JOB)
    splits = files.load_array(folder / paths.neighbor_row_splits(number), _JOB)
    for name, array in (("values", values), ("row_splits", splits)):
      if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
          f"{folder}: level {number} {name} has shape {array.shape} and dtype"
          f" {array.dtype}, wanted one row of integers"
        )
    levels.append(
      Level(
        values.astype(np.int32, copy=False), splits.astype(np.int64, copy=False)
      )
    )
  graph = HnswGraph(tuple(levels), entry_points.astype(np.int32, copy=False))
  try:
    graph.check()
  except ValueError as error:
    raise ValueError(
      f"{folder}: {error}; run --job-type {_JOB} again"
    ) from error
  return graph, content
