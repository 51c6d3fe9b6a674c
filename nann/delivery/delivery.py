"""A retriever becomes exec.pb, a SavedModel, warm-up requests and facts."""

import collections
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from nann import files, paths
from nann.delivery import (
  arrays,
  exec_graph,
  publishing,
  saved_model,
  serving_functions,
  variables,
  verify,
  warmup,
)
from nann.model.scorer import Items, Scorer

_WARMUP_REQUESTS = 10


def build(serving: serving_functions.Serving) -> exec_graph.ExecGraph:
  """Traces all signatures of a model."""
  retriever = serving.retriever
  # Computed before the variables are replaced.
  names = serving.tensors()
  with variables.as_constants(retriever.scorer) as values:
    exported = exec_graph.build(
      serving_functions.signatures(serving), names | values
    )
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
  assets = staged.files.assets
  arrays.write(assets, exported.arrays, known_assets)
  files.save_json(assets / saved_model.ASSETS_LIST, arrays.checksums(assets))
  exec_graph.write(exported, staged.files)
  write_saved_model(staged.files, staged.saved_model)


def write_saved_model(
  exported: paths.ExportPaths, folder: pathlib.Path
) -> None:
  """Makes a SavedModel of exec.pb, exec.meta.pb and assets/.

  Args:
    exported: What is read.
    folder: The folder of the version.
  """
  assets = folder / paths.ASSETS
  assets.mkdir(parents=True, exist_ok=True)
  for path in sorted(exported.assets.iterdir()):
    arrays.link(path, assets / path.name)
  saved_model.write(
    exec_graph.read_graph(exported.exec_graph),
    exec_graph.read_meta(exported.exec_meta),
    folder / paths.SAVED_MODEL,
  )


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
