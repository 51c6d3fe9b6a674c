"""A retriever becomes exec.pb, a SavedModel, warm-up requests and facts."""

import collections
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nann import console, files, paths
from nann.delivery import (
  arrays,
  exec_graph,
  mock_requests,
  placement,
  publishing,
  saved_model,
  serving_functions,
  variables,
  verify,
  warmup,
)
from nann.model.scorer import Items, Scorer

_WARMUP_REQUESTS = 10


def build(
  serving: serving_functions.Serving, export_ops: str = "nann"
) -> exec_graph.ExecGraph:
  """Traces all signatures of a model.

  Args:
    serving: The model; its retriever searches with the same ops.
    export_ops: nann, or stock: TensorFlow's own.
  """
  retriever = serving.retriever
  # Computed before the variables are replaced.
  names = serving.tensors()
  with variables.as_constants(retriever.scorer) as values:
    exported = exec_graph.build(
      serving_functions.signatures(serving), names | values, export_ops
    )
  placement.keep_on_cpu(exported.graph_def)
  signatures = exported.meta.signature_def
  if not serving.reads_embeddings_only:
    signatures[serving_functions.DEFAULT].CopyFrom(
      signatures[serving_functions.RETRIEVE]
    )
  return exported


def write(
  exported: exec_graph.ExecGraph,
  staged: publishing.Staging,
  known_assets: Sequence[pathlib.Path],
) -> None:
  """Writes exec.pb, the SavedModel that is made from it, and their arrays."""
  written = staged.files
  write_graph(exported, written, known_assets)
  write_saved_model(written.exec_graph, written.exec_meta, staged.saved_model)


def write_graph(
  exported: exec_graph.ExecGraph,
  target: paths.ExportPaths,
  known_assets: Sequence[pathlib.Path],
) -> None:
  """Writes exec.pb, exec.meta.pb and their arrays."""
  arrays.write(target.assets, exported.arrays, known_assets)
  files.save_json(
    target.assets / saved_model.ASSETS_LIST, arrays.checksums(target.assets)
  )
  exec_graph.write(exported, target)


def write_saved_model(
  graph_file: pathlib.Path, meta_file: pathlib.Path, folder: pathlib.Path
) -> None:
  """Makes a SavedModel.

  Args:
    graph_file: exec.pb, with assets/ beside it.
    meta_file: exec.meta.pb.
    folder: The folder of the version.

  Raises:
    FileNotFoundError: A file is missing.
    ValueError: The graph is not one of ours.
  """
  graph_def = exec_graph.read_graph(graph_file)
  meta = exec_graph.read_meta(meta_file)
  exec_graph.check_names(graph_def, meta)
  exec_graph.load_ops(graph_def)
  assets = folder / paths.ASSETS
  assets.mkdir(parents=True, exist_ok=True)
  for name in [*exec_graph.assets_of(graph_def), saved_model.ASSETS_LIST]:
    source = graph_file.parent / paths.ASSETS / name
    if not source.exists():
      raise FileNotFoundError(f"{source} is missing; run --job-type export")
    arrays.link(source, assets / name)
  saved_model.write(graph_def, meta, folder / paths.SAVED_MODEL)


def convert(
  graph_file: pathlib.Path, meta_file: pathlib.Path, folder: pathlib.Path
) -> None:
  """Makes a SavedModel of exec.pb in a folder, whole or not at all.

  Its warm-up requests are made up: no user is known here.
  """
  is_there = folder.exists()
  with files.folder_written_whole(folder) as temporary:
    write_saved_model(graph_file, meta_file, temporary)
    rng = np.random.default_rng(0)
    signatures = exec_graph.read_meta(meta_file).signature_def
    (temporary / paths.WARMUP_REQUESTS).parent.mkdir()
    warmup.write(
      temporary / paths.WARMUP_REQUESTS,
      [
        (name, mock_requests.inputs(signatures[name], rng))
        for name in sorted(signatures)
      ],
    )
  replaced = " in place of the one that was there" if is_there else ""
  console.say(f"{graph_file} -> {folder}{replaced}")


def write_extras(
  folder: pathlib.Path,
  cases: Sequence[verify.Case],
  facts: Mapping[str, Any],
) -> None:
  """Writes assets.extra/ of a version: warm-up requests and nann.json."""
  counts: collections.Counter[str] = collections.Counter()
  requests: list[warmup.Request] = []
  for case in cases:
    counts[case.signature] += 1
    if counts[case.signature] <= _WARMUP_REQUESTS:
      requests.append((case.signature, case.inputs))
  (folder / paths.WARMUP_REQUESTS).parent.mkdir(exist_ok=True)
  warmup.write(folder / paths.WARMUP_REQUESTS, requests)
  text = json.dumps(dict(facts), indent=2)
  (folder / paths.EXPORT_FACTS).write_text(text + "\n")


def history_width(scorer: Scorer) -> int:
  """Returns H, the width of the embedding of an item of a history."""
  nothing = tf.zeros([1, 1], tf.int64)
  return int(scorer.history_embedding(Items(nothing, nothing)).shape[-1])
