"""The corpus of a trained model made smaller or larger, for costs by its size.

A smaller one is a random part of the items, with those that are to stay: a
user whose history has left the catalogue is another case. A larger one adds
items between an item and one of its neighbors: as clustered as the real ones,
unlike noise. The graphs are built anew, as job build_index builds them.
"""

import dataclasses

import numpy as np
import trained_run

from nann import config
from nann.index import build
from nann.index.graph import Index
from nann.jobs import measuring
from nann.retrieval import entries
from nann.retrieval.items import ItemArrays
from nann.retrieval.profiles import score_profiles
from nann.retrieval.retriever import Retriever

_PROFILE_WIDTH = 64
_NUM_FREQUENT = 128


def of_size(
  run: trained_run.TrainedRun,
  num_items: int,
  k: int,
  seed: int,
  kept: np.ndarray | None = None,
) -> Retriever:
  """Returns a retriever over so many items, with graphs and entries.

  Args:
    run: The trained model.
    num_items: I.
    k: Answers that make an item a frequent one.
    seed: Which items.
    kept: int64 ids, of any shape, of items that stay.
  """
  rng = np.random.default_rng(seed)
  items = _items(run.retriever, num_items, kept, rng)
  scorer, table = run.retriever.scorer, run.retriever.category_table
  state_dtype = run.retriever.state_dtype
  without_graph = Retriever(scorer, items, None, table, state_dtype)
  data, settings = run.data, config.IndexSettings()
  of_training = data.train_histories(
    settings.profile_users, data.max_length, seed
  )
  profiles = score_profiles(without_graph, of_training, _PROFILE_WIDTH, seed)
  hnsw = build.build_hnsw(
    items.embeddings,
    settings.builder,
    settings.hnsw_num_neighbors,
    settings.hnsw_ef_construction,
    settings.hnsw_start_level,
    settings.index_threads,
    seed,
  )
  flat = build.build_flat(
    items.embeddings,
    settings.flat_neighbors,
    settings.flat_reversed,
    settings.flat_links,
    settings.num_medoids,
    settings.index_threads,
    seed,
    profiles=profiles,
  )
  retriever = Retriever(
    scorer, items, Index(hnsw, flat.graph), table, state_dtype
  )
  answers = measuring.exact_rows(retriever, of_training[:100], k)
  return retriever.with_entries(
    entries.frequent_answers(answers, _NUM_FREQUENT)
  )


def _items(
  retriever: Retriever,
  num_items: int,
  kept: np.ndarray | None,
  rng: np.random.Generator,
) -> ItemArrays:
  items = retriever.items
  if num_items <= len(items):
    order = rng.permutation(len(items))
    if kept is not None:
      is_kept = np.isin(items.item_ids[order], kept)
      order = np.concatenate([order[is_kept], order[~is_kept]])
    return _chosen(items, np.sort(order[:num_items]))
  assert retriever.index is not None
  level = retriever.index.best_first.levels[0]
  number = num_items - len(items)
  linked = np.flatnonzero(np.diff(level.row_splits))
  first = rng.choice(linked, number)
  begin, end = level.row_splits[first], level.row_splits[first + 1]
  second = level.values[begin + rng.integers(0, end - begin)]
  share = rng.random((number, 1), np.float32)
  between = (
    share * items.embeddings[first] + (1 - share) * items.embeddings[second]
  )
  new_ids = len(retriever.category_table) + np.arange(number)
  added = ItemArrays(new_ids, items.category_ids[first], between)
  return ItemArrays(
    *(
      np.concatenate([getattr(items, field), getattr(added, field)])
      for field in (f.name for f in dataclasses.fields(ItemArrays))
    )
  )


def _chosen(items: ItemArrays, rows: np.ndarray) -> ItemArrays:
  return ItemArrays(
    items.item_ids[rows], items.category_ids[rows], items.embeddings[rows]
  )
