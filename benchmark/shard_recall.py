"""Coverage of answers that are merged from shards, and what they cost.

The items are dealt out to S shards, each with a graph of its own; a query asks
all of them for k and keeps the best k. The same users and settings for each S.
"""

import pathlib

import harness
import numpy as np
import trained_run

from nann import config
from nann.index import build
from nann.index.graph import Index
from nann.jobs import measuring
from nann.retrieval import metrics
from nann.retrieval import result as results
from nann.retrieval.items import ItemArrays
from nann.retrieval.retriever import Retriever
from nann.serving import merging


def main() -> None:
  """Runs the benchmark."""
  parser = harness.parser(__doc__ or "")
  trained_run.add_arguments(parser)
  parser.add_argument("--k", type=int, default=200)
  parser.add_argument("--num-users", type=int, default=500)
  arguments = parser.parse_args()
  run = trained_run.load(arguments)
  held_out = run.data.held_out("test").sample(arguments.num_users, seed=0)
  histories, k = held_out.histories, arguments.k
  exact = measuring.exact_rows(run.retriever, histories, k)
  profiles_path = pathlib.Path(
    arguments.output_root or "", "embeddings", "item_profiles.npy"
  )
  profiles = np.load(profiles_path) if profiles_path.exists() else None
  figures: dict[str, float] = {"num_items": run.num_items}
  targets = run.retriever.items.rows_of(held_out.targets)
  for number in (1, 2, 4):
    rows, scored = _merged(run.retriever, profiles, number, histories, k)
    coverage = metrics.share(metrics.coverage(rows + 1, exact + 1, k))
    recall = metrics.share(metrics.hits(rows + 1, targets + 1, k))
    figures |= {
      f"shards_{number}_coverage": coverage.mean,
      f"shards_{number}_coverage_error": coverage.standard_error,
      f"shards_{number}_recall": recall.mean,
      f"shards_{number}_recall_error": recall.standard_error,
      f"shards_{number}_scored": scored,
    }
  harness.report(f"answers of shards: {run.name}", figures, arguments.json)


def _merged(
  whole: Retriever,
  profiles: np.ndarray | None,
  number: int,
  histories: np.ndarray,
  k: int,
) -> tuple[np.ndarray, float]:
  """Returns rows [n, K] of the merged answers, and items scored a query."""
  policy = results.BestFirstPolicy(
    config.SearchSettings().ef, config.SearchSettings().search_width, 64, 10**6
  )
  answers = []
  for index in range(number):
    part = slice(index, None, number)
    items = ItemArrays(
      whole.items.item_ids[part],
      whole.items.category_ids[part],
      np.ascontiguousarray(whole.items.embeddings[part]),
    )
    shard = Retriever(
      whole.scorer,
      items,
      _index(items, None if profiles is None else profiles[part]),
      whole.category_table,
    )
    found = results.concatenate(list(shard.search(histories, policy, k)))
    answers.append(
      {
        "item_ids": np.where(found.rows < 0, -1, found.rows * number + index),
        "scores": found.scores,
        "num_scored": found.total_scored,
        "num_unknown": np.zeros(len(histories), np.int32),
      }
    )
  merged = merging.best_of(answers)
  return merged["item_ids"], float(merged["num_scored"].mean())


def _index(items: ItemArrays, profiles: np.ndarray | None) -> Index:
  """Builds the graphs as build_index does by default."""
  settings = config.IndexSettings()
  hnsw = build.build_hnsw(items.embeddings, "faiss", 8, 40, 1, 0, 0)
  flat = build.build_flat(
    items.embeddings,
    settings.flat_neighbors,
    settings.flat_reversed,
    settings.flat_links,
    settings.num_medoids,
    0,
    0,
    profiles=profiles,
  )
  return Index(hnsw, flat.graph)


if __name__ == "__main__":
  main()
