"""Job build_index: embeddings/ -> index/, the graphs of both policies."""

import dataclasses
import pathlib
import time
from typing import Any

import numpy as np

from nann import config, console, files, manifest, paths
from nann.index import build as builders
from nann.index import nearest, storage
from nann.index.graph import HnswGraph, Index


def run(settings: config.Config) -> None:
  """Runs the job."""
  output = paths.OutputPaths(pathlib.Path(settings.paths.output_root))
  content = manifest.check_manifest(output.embeddings, "extract_feature")
  number = settings.run.num_shards()
  if number == 1:
    parts: list[paths.OutputPaths] = [output]
  else:
    parts = _split(output, number, content)
  for part in parts:
    build(part.item_embeddings, part.index, settings.index, settings.run.seed)


def _split(
  output: paths.OutputPaths, number: int, content: dict[str, Any]
) -> list[paths.OutputPaths]:
  """Deals the items out in turn, so that each shard has as many popular ones.

  Args:
    output: The run; its embeddings are whole.
    number: S.
    content: Of their manifest.
  """
  arrays = {
    path.name: files.load_array(path, "extract_feature")
    for path in (
      output.item_ids,
      output.item_embeddings,
      output.item_profiles,
    )
    if path.exists()
  }
  if len(arrays[output.item_ids.name]) < number:
    raise ValueError(
      f"--shards is {number}, more than the"
      f" {len(arrays[output.item_ids.name]):,} items"
    )
  parts: list[paths.OutputPaths] = []
  for index in range(number):
    part = output.shard(index, number)
    with files.folder_written_whole(part.embeddings) as folder:
      for name, array in arrays.items():
        np.save(folder / name, array[index::number])
      manifest.write_manifest(
        folder,
        content["parents"],
        {
          **content["facts"],
          "num_items": len(arrays[output.item_ids.name][index::number]),
          "shard": index,
          "num_shards": number,
        },
      )
    parts.append(part)
  return parts


def build(
  embeddings_path: pathlib.Path,
  index_folder: pathlib.Path,
  settings: config.IndexSettings,
  seed: int,
) -> None:
  """Builds the index of an .npy file of item embeddings.

  Args:
    embeddings_path: [I, D] float32. Score profiles beside it are used too.
    index_folder: Folder to write; replaced when the new one is complete.
    settings: How to build.
    seed: Seed of the levels.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: It holds no matrix of finite numbers.
  """
  embeddings = np.asarray(files.load_array(embeddings_path, "extract_feature"))
  parents = {embeddings_path.name: files.checksum(embeddings_path)}
  profiles_path = embeddings_path.with_name(paths.ITEM_PROFILES)
  profiles = None
  if profiles_path.exists():
    profiles = _load_profiles(profiles_path, len(embeddings))
    parents[profiles_path.name] = files.checksum(profiles_path)
  clock = nearest.Clock()
  begin = time.monotonic()
  with console.progress(len(embeddings), "item", settings.builder) as bar:
    hnsw = builders.build_hnsw(
      embeddings,
      settings.builder,
      settings.hnsw_num_neighbors,
      settings.hnsw_ef_construction,
      settings.hnsw_start_level,
      settings.index_threads,
      seed,
      bar.update,
      clock,
    )
  hnsw_seconds = time.monotonic() - begin
  begin = time.monotonic()
  total = builders.flat_progress(len(embeddings), profiles is not None)
  with console.progress(total, "item", "flat graph") as bar:
    flat, num_islands = builders.build_flat(
      embeddings,
      settings.flat_neighbors,
      settings.flat_reversed,
      settings.flat_links,
      settings.num_medoids,
      settings.index_threads,
      seed,
      bar.update,
      profiles,
      clock,
    )
  flat_seconds = time.monotonic() - begin
  num_unreachable = int((~hnsw.reached()).sum())
  _warn(hnsw, num_unreachable, settings)
  storage.save(
    index_folder,
    Index(hnsw, flat),
    parents=parents,
    facts={
      **dataclasses.asdict(settings),
      "seed": seed,
      "num_items": hnsw.num_rows,
      "start_level": hnsw.start_level,
      "num_entry_points": len(hnsw.entry_points),
      "num_unreachable": num_unreachable,
      "num_medoids": len(flat.entry_points),
      "num_islands": num_islands,
    },
  )
  console.say(
    f"paper: {len(hnsw.entry_points):,} entry points on level"
    f" {hnsw.start_level}, mean degree {_mean_degree(hnsw):.1f}, built in"
    f" {hnsw_seconds:.1f} s"
  )
  console.say(
    f"best_first: {len(flat.entry_points):,} medoids, mean degree"
    f" {_mean_degree(flat):.1f}, {num_islands:,} islands joined, built in"
    f" {flat_seconds:.1f} s"
  )
  console.say(
    f"{hnsw.num_rows:,} items; libraries' own time {clock.seconds:.1f} s ->"
    f" {index_folder}"
  )


def _load_profiles(path: pathlib.Path, num_items: int) -> np.ndarray:
  profiles = np.asarray(files.load_array(path, "extract_feature"))
  if profiles.ndim != 2 or len(profiles) != num_items:
    raise ValueError(
      f"{path} has shape {profiles.shape}, wanted [{num_items}, width]; run"
      " --job-type extract_feature again"
    )
  if not np.isfinite(profiles).all():
    raise ValueError(
      f"{path} holds numbers that are not finite; run --job-type"
      " extract_feature again"
    )
  return profiles


def _warn(
  hnsw: HnswGraph, num_unreachable: int, settings: config.IndexSettings
) -> None:
  if hnsw.start_level < settings.hnsw_start_level:
    console.warn(
      f"no item is on level {settings.hnsw_start_level}: policy paper starts"
      f" at level {hnsw.start_level}"
    )
  if num_unreachable:
    share = num_unreachable / hnsw.num_rows
    console.warn(
      f"{num_unreachable:,} of {hnsw.num_rows:,} items ({share:.2%}) cannot"
      " be reached from the entry points of policy paper; a larger"
      " --hnsw-ef-construction or --hnsw-num-neighbors connects more"
    )


def _mean_degree(graph: HnswGraph) -> float:
  return len(graph.levels[0].values) / graph.num_rows
