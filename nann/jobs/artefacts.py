"""Loads what earlier jobs wrote, and refuses what does not fit together."""

import numpy as np

from nann import config, files, manifest, model_store, paths
from nann.data_provider import dataset
from nann.index import storage
from nann.index.graph import HnswGraph
from nann.retrieval.result import BestFirstPolicy, PaperPolicy, Policy
from nann.retrieval.retriever import ItemArrays, Retriever


def load_retriever(
  output: paths.OutputPaths, data: dataset.PreparedData, with_graph: bool
) -> tuple[Retriever, HnswGraph | None]:
  """Makes the retriever of an output folder.

  Args:
    output: The folder of the run.
    data: The data set it was trained on.
    with_graph: Load the index too.

  Raises:
    FileNotFoundError: An artefact is missing.
    ValueError: One is damaged, or was made from another version of another.
  """
  model = model_store.load(output.model)
  items = load_items(output, data, model)
  graph = None
  if with_graph:
    graph, content = storage.load(output.index)
    if content:
      embeddings = output.item_embeddings
      manifest.check_parent(
        content, embeddings.name, embeddings, output.index, "build_index"
      )
  category_table = data.catalogue.category_table()
  return Retriever(model.scorer, items, graph, category_table), graph


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


def search_policy(settings: config.SearchSettings, graph: HnswGraph) -> Policy:
  """Returns the policy that the settings ask for, fit for the graph."""
  if settings.search_policy == "paper":
    policy = PaperPolicy(
      settings.top_k_per_level, settings.num_scoring_per_level
    )
    return policy.for_start_level(graph.start_level)
  return BestFirstPolicy(
    settings.ef,
    settings.search_width,
    settings.max_search_steps,
    settings.max_evaluations,
  )
