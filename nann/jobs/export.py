"""Job export: model, embeddings, index and search settings -> export/.

`build_graph` is the part of it that the command build_opt_graph.py runs.
"""

import dataclasses
import pathlib
import shutil
import time
from typing import Any

import numpy as np

import nann
from nann import config, console, files, machine, model_store, paths
from nann.data_provider import dataset
from nann.data_provider.catalogue import Catalogue
from nann.delivery import (
  delivery,
  proof,
  publishing,
  raw_ids,
  scorer_graph,
  verify,
)
from nann.delivery.serving_functions import Serving
from nann.jobs import artefacts


def run(settings: config.Config) -> None:
  """Runs the job."""
  output = paths.OutputPaths(pathlib.Path(settings.paths.output_root))
  data = dataset.load(pathlib.Path(settings.paths.dataset_dir))
  number = settings.run.num_shards()
  if number == 1:
    _export(settings, output, data)
  for index in range(number if number > 1 else 0):
    console.say(f"shard {index + 1} of {number}")
    _export(settings, output.shard(index, number), data)


def _export(
  settings: config.Config,
  output: paths.OutputPaths,
  data: dataset.PreparedData,
) -> None:
  begin = time.monotonic()
  serving = make_serving(settings, output, data)
  target = output.export
  with publishing.staging(target, settings.export.export_version) as staged:
    exported = delivery.build(serving, settings.export.export_ops)
    delivery.write(exported, staged, publishing.known_assets(target))
    histories = _histories(data, settings.export.num_proof_users)
    cases = proof.cases(serving, histories, _to_raw(data))
    facts = _facts(settings, serving, output)
    delivery.write_extras(staged.saved_model, cases, facts)
    _copy_checkpoint(output.model, staged.files.root)
    _write_scorer(serving, staged.files)
    console.say(f"{len(cases)} requests are compared in a fresh process")
    scratch = staged.files.root / "cases.npz"
    verify.in_fresh_process(cases, staged.files, staged.saved_model, scratch)
    version = publishing.publish(staged, target)
  _summarize(version, serving, list(exported.meta.signature_def))
  console.say(f"exported in {time.monotonic() - begin:.1f} s")


def build_graph(
  settings: config.Config,
  output: paths.OutputPaths,
  target: paths.ExportPaths,
) -> None:
  """Writes exec.pb, exec.meta.pb and their arrays; publishes no version.

  Without a data set the user's own ids and the items' categories are not known:
  then the graph answers `serving_default` only, with item ids.

  Args:
    settings: Of the search, and where the data set is.
    output: Model, embeddings and index. In place of a folder with a checkpoint,
      model may be converted_model/ in one.
    target: Where to write.

  Raises:
    FileNotFoundError: A file is missing.
    ValueError: One is damaged or does not fit the others.
  """
  folder = output.model
  if (folder / paths.FROZEN_GRAPH).exists():
    folder = folder.parent
  output = paths.GivenPaths(
    output.root, folder, output.embeddings, output.index
  )
  model = model_store.load(folder)
  data = _data_of(model, pathlib.Path(settings.paths.dataset_dir))
  if data is None and not model.scorer.reads_embeddings_only:
    raise ValueError(
      f"scorer {model.name} reads ids beside embeddings, which needs the data"
      " set that it was trained on; give it as --dataset-dir"
    )
  known = data or _unknown_data(model, settings.data.max_length)
  serving = dataclasses.replace(
    make_serving(settings, output, known), knows_items=data is not None
  )
  target.root.mkdir(parents=True, exist_ok=True)
  with publishing.staging(target, 0) as staged:
    exported = delivery.build(serving, settings.export.export_ops)
    delivery.write_graph(
      exported, staged.files, publishing.known_assets(target)
    )
    publishing.publish_graph(staged, target)
  names = ", ".join(sorted(exported.meta.signature_def))
  console.say(f"{target.exec_graph}: signatures {names}")


def _data_of(
  model: model_store.StoredModel, folder: pathlib.Path
) -> dataset.PreparedData | None:
  """Returns the data set of a model; None where none is."""
  if not paths.DatasetPaths(folder).meta.exists():
    console.warn(
      f"{folder} holds no data set: the graph answers serving_default only,"
      " with item ids; --dataset-dir for your own ids"
    )
    return None
  data = dataset.load(folder)
  if data.catalogue.num_items != model.spec.num_items:
    raise ValueError(
      f"{folder} has {data.catalogue.num_items:,} items, the model"
      f" {model.spec.num_items:,}; give the data set that it was trained on as"
      " --dataset-dir"
    )
  return data


def _unknown_data(
  model: model_store.StoredModel, max_length: int
) -> dataset.PreparedData:
  """Returns what stands for a data set: item ids, and no categories."""
  nothing = np.zeros(model.spec.num_items, np.int64)
  return dataset.PreparedData(
    pathlib.Path(),
    {"max_length": max_length},
    Catalogue(nothing, nothing.astype(np.float64)),
  )


def make_serving(
  settings: config.Config,
  output: paths.OutputPaths,
  data: dataset.PreparedData,
) -> Serving:
  """Loads what an export is made of."""
  tuned = artefacts.load_tuned(settings.search, output)
  retriever = artefacts.load_retriever(
    output,
    data,
    with_index=True,
    state_dtype=settings.search.item_state_dtype,
    entries=None if tuned is None else tuned.entries,
    search_ops=settings.export.export_ops,
    search_device=settings.export.search_device,
    graph_mode="c",
  )
  assert retriever.index is not None
  start_level = retriever.index.hnsw.start_level
  k = min(max(settings.evaluation.topk_eval), len(retriever.items))
  return Serving(
    retriever,
    *_names(data.catalogue, retriever.items.item_ids),
    artefacts.search_plan(settings.search, tuned, start_level, k),
    artefacts.paper_policy(settings.search, start_level),
    data.max_length,
    delivery.history_width(retriever.scorer),
    k,
  )


def _names(
  catalogue: Catalogue, item_ids: np.ndarray
) -> tuple[raw_ids.RawIds, raw_ids.RowNames, raw_ids.RawIds]:
  """Returns the user's own ids of items, back from rows, and of categories."""
  all_ids = np.arange(1, catalogue.num_items + 1)
  categories = catalogue.raw_category_ids
  if categories is None:
    categories = np.arange(1, catalogue.num_categories + 1)
  return (
    raw_ids.raw_ids("item", catalogue.to_raw_item_ids(all_ids)),
    raw_ids.row_names(catalogue.to_raw_item_ids(item_ids)),
    raw_ids.raw_ids("category", categories),
  )


def _histories(data: dataset.PreparedData, number: int) -> np.ndarray:
  """Returns [n, L] int64 item ids of test users."""
  histories = data.held_out("test").histories[:number]
  if not len(histories):
    raise ValueError(
      f"{data.root} holds no test user to prove the export with; run"
      " --job-type prepare_data with --num-test-users above 0"
    )
  return histories


def _to_raw(data: dataset.PreparedData) -> proof.ToRaw:
  catalogue = data.catalogue

  def to_raw(item_ids: np.ndarray) -> np.ndarray:
    known = catalogue.to_raw_item_ids(np.maximum(item_ids, 1))
    return np.where(item_ids > 0, known, known.dtype.type())

  return to_raw


def _write_scorer(serving: Serving, target: paths.ExportPaths) -> None:
  """Writes the scorer alone, where it can stand alone."""
  if serving.reads_embeddings_only:
    frozen = scorer_graph.build(serving.retriever.scorer)
    scorer_graph.write(target.converted_model, frozen)


def _copy_checkpoint(model: pathlib.Path, folder: pathlib.Path) -> None:
  """Copies the newest checkpoint and what says which scorer it is of."""
  prefix = pathlib.Path(model_store.find_checkpoint(model))
  for path in sorted(prefix.parent.glob(f"{prefix.name}.*")):
    shutil.copyfile(path, folder / path.name)
  description = prefix.parent / paths.SCORER_DESCRIPTION
  if description.exists():
    shutil.copyfile(description, folder / description.name)
  (folder / "checkpoint").write_text(
    f'model_checkpoint_path: "{prefix.name}"\n'
  )


def _facts(
  settings: config.Config, serving: Serving, output: paths.OutputPaths
) -> dict[str, Any]:
  """Returns what a reader of the exported model may want to know."""
  model = model_store.read_description(output.model)
  return {
    "nann_version": nann.__version__,
    "versions": machine.versions(),
    "scorer": "attention" if model is None else model.name,
    "parents": {
      "model": files.checksum(
        pathlib.Path(model_store.find_checkpoint(output.model) + ".index")
      ),
      **artefacts.search_parents(output),
    },
    "max_length": serving.max_length,
    "history_width": serving.history_width,
    "emb_dim": serving.history_width // 2,
    "num_items": len(serving.retriever.items),
    "raw_id_dtype": serving.raw_item_ids.dtype.name,
    "item_state_dtype": settings.search.item_state_dtype,
    "export_ops": settings.export.export_ops,
    "search_device": settings.export.search_device,
    "search": {
      "mode": serving.plan.mode,
      "policy": settings.search.search_policy,
      **artefacts.policy_settings(serving.plan.policy),
      "exclude_history": serving.plan.exclude_history,
      "num_entries": len(serving.retriever.entries),
      "k": serving.k,
    },
    "serving_default": {
      "widths": list(serving.paper.widths),
      "hops": list(serving.paper.hops),
    },
  }


def _summarize(
  version: pathlib.Path, serving: Serving, signatures: list[str]
) -> None:
  sizes = [path.stat().st_size for path in version.rglob("*.npy")]
  total = sum(sizes) / 1e6
  console.say(
    f"{len(serving.retriever.items):,} items, {total:,.1f} MB of arrays in"
    f" {len(sizes)} files; signatures {', '.join(sorted(signatures))}"
  )
  console.say(f"version {version.name} -> {version}")
  console.say(
    "serve it: python main.py --job-type serve --model-base-path"
    f" {version.parent}"
  )
