"""Job build_index: embeddings/ -> index/."""

import dataclasses
import pathlib
import time

import numpy as np

from nann import config, console, files, manifest, paths
from nann.index import build as builders
from nann.index import storage


def run(settings: config.Config) -> None:
  """Runs the job."""
  output = paths.OutputPaths(pathlib.Path(settings.paths.output_root))
  manifest.check_manifest(output.embeddings, "extract_feature")
  build(output.item_embeddings, output.index, settings.index, settings.run.seed)


def build(
  embeddings_path: pathlib.Path,
  index_folder: pathlib.Path,
  settings: config.IndexSettings,
  seed: int,
) -> None:
  """Builds the index of an .npy file of item embeddings.

  Args:
    embeddings_path: [I, D] float32.
    index_folder: Folder to write; replaced when the new one is complete.
    settings: How to build.
    seed: Seed of the levels.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: It holds no matrix of finite numbers.
  """
  embeddings = np.asarray(files.load_array(embeddings_path, "extract_feature"))
  begin = time.monotonic()
  with console.progress(len(embeddings), "item", settings.builder) as bar:
    graph = builders.build_hnsw(
      embeddings,
      settings.builder,
      settings.hnsw_num_neighbors,
      settings.hnsw_ef_construction,
      settings.hnsw_start_level,
      settings.index_threads,
      seed,
      bar.update,
    )
  seconds = time.monotonic() - begin
  if graph.start_level < settings.hnsw_start_level:
    console.warn(
      f"no item is on level {settings.hnsw_start_level}: the search starts at"
      f" level {graph.start_level}"
    )
  num_unreachable = graph.num_unreachable()
  if num_unreachable:
    share = num_unreachable / graph.num_rows
    console.warn(
      f"{num_unreachable:,} of {graph.num_rows:,} items ({share:.2%}) cannot"
      " be reached from the entry points; a larger --hnsw-ef-construction or"
      " --hnsw-num-neighbors connects more"
    )
  storage.save(
    index_folder,
    graph,
    parents={embeddings_path.name: files.checksum(embeddings_path)},
    facts={
      **dataclasses.asdict(settings),
      "seed": seed,
      "num_items": graph.num_rows,
      "start_level": graph.start_level,
      "num_entry_points": len(graph.entry_points),
      "num_unreachable": num_unreachable,
    },
  )
  degree = len(graph.levels[0].values) / graph.num_rows
  console.say(
    f"{graph.num_rows:,} items, {len(graph.entry_points):,} entry points on"
    f" level {graph.start_level}, mean degree {degree:.1f}, built in"
    f" {seconds:.1f} s -> {index_folder}"
  )
