"""Loads what earlier jobs wrote, and refuses what does not fit together."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from nann import config, console, files, manifest, model_store, paths
from nann.data_provider import dataset
from nann.index import storage
from nann.retrieval import answering, cost_model
from nann.retrieval.items import ItemArrays
from nann.retrieval.result import BestFirstPolicy, PaperPolicy, Policy
from nann.retrieval.retriever import Retriever


def load_retriever(
  output: paths.OutputPaths,
  data: dataset.PreparedData,
  with_index: bool,
  state_dtype: str,
  entries: np.ndarray | None = None,
  search_ops: str = "nann",
  search_device: str = "cpu",
  graph_mode: files.MapMode = "r",
) -> Retriever:
  """Makes the retriever of an output folder.

  Args:
    output: The folder of the run.
    data: The data set it was trained on.
    with_index: Load the index too.
    state_dtype: How the state of the items is kept.
    entries: [M] int32 rows where walks begin beside the history.
    search_ops: nann, or stock: TensorFlow's own.
    search_device: cpu, or gpu: where graphs are walked.
    graph_mode: r: graphs are copied, which is faster to walk; c: they stay
      mapped files.

  Raises:
    FileNotFoundError: An artefact is missing.
    ValueError: One is damaged, or was made from another version of another.
  """
  model = model_store.load(output.model)
  items = load_items(output, data, model)
  index = None
  if with_index:
    index, content = storage.load(output.index, graph_mode)
    for path in (output.item_embeddings, output.item_profiles):
      if content and path.exists():
        manifest.check_parent(
          content, path.name, path, output.index, "build_index"
        )
  category_table = data.catalogue.category_table()
  return Retriever(
    model.scorer,
    items,
    index,
    category_table,
    state_dtype,
    entries,
    search_ops,
    search_device,
  )


def load_items(
  output: paths.OutputPaths,
  data: dataset.PreparedData,
  model: model_store.StoredModel,
) -> ItemArrays:
  """Reads embeddings/, ours or the original's (which has no manifest)."""
  job = "extract_feature"
  if (output.embeddings / paths.MANIFEST).exists():
    content = manifest.check_manifest(output.embeddings, job)
    if content["parents"].get("model") != model.fingerprint():
      raise ValueError(
        f"{output.embeddings} was made from another model than"
        f" {model.checkpoint}; run --job-type {job} again"
      )
  item_ids = np.asarray(files.load_array(output.item_ids, job))
  embeddings = np.asarray(files.load_array(output.item_embeddings, job))
  if embeddings.ndim != 2 or len(embeddings) != len(item_ids):
    raise ValueError(
      f"{output.embeddings}: item_ids has {len(item_ids):,} rows, item_embs"
      f" shape {embeddings.shape}; run --job-type {job} again"
    )
  table = data.catalogue.category_table()
  known = (item_ids >= 1) & (item_ids < len(table))
  if not known.all():
    raise ValueError(
      f"{output.item_ids} holds item {item_ids[~known][0]}, the data set has"
      f" items 1 to {len(table) - 1:,}; run --job-type {job} again"
    )
  return ItemArrays(item_ids, table[item_ids].astype(np.int64), embeddings)


class Tuned(NamedTuple):
  """What job tune has written to search/.

  Attributes:
    content: Of settings.json.
    entries: [M] int32 rows where walks begin beside the history.
  """

  content: dict[str, Any]
  entries: np.ndarray


def search_plan(
  search: config.SearchSettings,
  tuned: Tuned | None,
  start_level: int,
  k: int,
) -> answering.Plan:
  """Returns how to search: as asked for, else as tuned, else by default.

  Args:
    search: The settings.
    tuned: What job tune found for the same policy, if it was run.
    start_level: Of the graph of policy paper.
    k: K.
  """
  cost = cost_model.untuned(search.ef, k)
  if tuned is not None:
    search = _with_tuned(search, tuned.content["settings"])
    cost = cost_model.CostModel(tuned.content["num_scored"])
  return answering.Plan(
    search.search_mode,
    search_policy(search, start_level),
    cost,
    search.exclude_history,
  )


def load_tuned(
  search: config.SearchSettings, output: paths.OutputPaths
) -> Tuned | None:
  """Reads search/; None without settings for the policy, model and index."""
  if not output.search_settings.exists():
    return None
  content: dict[str, Any] = files.load_json(output.search_settings, "tune")
  if content["parents"] != search_parents(output):
    console.warn(
      f"{output.search_settings} was tuned for another model or index and is"
      " not used; run --job-type tune again"
    )
    return None
  if content["search_policy"] != search.search_policy:
    return None
  entries = np.asarray(files.load_array(output.search_entries, "tune"))
  if files.checksum(output.search_entries) != content["entries_sha256"]:
    raise ValueError(
      f"{output.search_entries} is not the file that"
      f" {output.search_settings.name} describes; run --job-type tune again"
    )
  return Tuned(content, entries)


def save_tuned(
  output: paths.OutputPaths, content: dict[str, Any], entries: np.ndarray
) -> None:
  """Writes search/; what it was tuned for and checksums are added."""
  files.save_array(output.search_entries, entries)
  files.save_json(
    output.search_settings,
    {
      **content,
      "entries_sha256": files.checksum(output.search_entries),
      "parents": search_parents(output),
    },
  )


def search_parents(output: paths.OutputPaths) -> dict[str, str]:
  """Returns checksums of what search settings were tuned for."""
  index = output.index / paths.MANIFEST
  if not index.exists():  # An index of the original's.
    index = output.index / paths.ENTRY_POINTS
  return {
    output.item_embeddings.name: files.checksum(output.item_embeddings),
    f"index/{index.name}": files.checksum(index),
  }


def _with_tuned(
  search: config.SearchSettings, tuned: dict[str, Any]
) -> config.SearchSettings:
  """Replaces settings that are at their default by tuned ones."""
  changed: dict[str, Any] = {}
  for field in dataclasses.fields(search):
    is_default = getattr(search, field.name) == field.default
    if field.name in tuned and is_default:
      value = tuned[field.name]
      changed[field.name] = tuple(value) if isinstance(value, list) else value
  return dataclasses.replace(search, **changed)


def search_policy(search: config.SearchSettings, start_level: int) -> Policy:
  """Returns the policy that the settings ask for, fit for the graph."""
  if search.search_policy == "paper":
    return paper_policy(search, start_level)
  return BestFirstPolicy(
    search.ef,
    search.search_width,
    search.max_search_steps,
    search.max_evaluations,
  )


def paper_policy(
  search: config.SearchSettings, start_level: int
) -> PaperPolicy:
  """Returns policy paper, fit for the graph."""
  policy = PaperPolicy(search.top_k_per_level, search.num_scoring_per_level)
  return policy.for_start_level(start_level)


def policy_settings(policy: Policy) -> dict[str, Any]:
  """Returns a policy by the names of the settings."""
  if isinstance(policy, PaperPolicy):
    return {
      "top_k_per_level": policy.widths,
      "num_scoring_per_level": policy.hops,
    }
  return {
    "ef": policy.ef,
    "search_width": policy.width,
    "max_search_steps": policy.max_steps,
    "max_evaluations": policy.max_evaluations,
  }
