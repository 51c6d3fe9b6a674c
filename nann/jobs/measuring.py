"""What test and test_all share: exact answers, baselines, tables."""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from nann import config, console, files, paths
from nann.data_provider import dataset
from nann.jobs import artefacts
from nann.retrieval import answering, brute_force, evaluation
from nann.retrieval import result as results
from nann.retrieval.baselines import Baselines
from nann.retrieval.retriever import Retriever

_EXACT_FILE = "exact_top_k.npz"

# Runs a search over histories; calls back with users done.
Search = Callable[
  [np.ndarray, Callable[[int], Any]], Iterator[results.SearchResult]
]


@dataclasses.dataclass(frozen=True)
class Bench:
  """What is measured on what.

  Attributes:
    output: Folder of the run.
    data: The data set.
    held_out: The test users that are used.
    retriever: Scorer, items and (for test) graph.
    plan: How to search; None without an index.
  """

  output: paths.OutputPaths
  data: dataset.PreparedData
  held_out: dataset.HeldOut
  retriever: Retriever
  plan: answering.Plan | None

  @property
  def num_items(self) -> int:
    return len(self.retriever.items)

  def to_item_ids(self, rows: np.ndarray) -> np.ndarray:
    return evaluation.to_item_ids(rows, self.retriever.items.item_ids)


def set_up(
  settings: config.Config, with_index: bool, split: str = "test"
) -> Bench:
  """Loads everything a measurement needs.

  Args:
    settings: All settings.
    with_index: Load the graphs too.
    split: Whose users to measure on: test, with what was tuned, or validate.
  """
  output = paths.OutputPaths(pathlib.Path(settings.paths.output_root))
  data = dataset.load(pathlib.Path(settings.paths.dataset_dir))
  tuned = None
  if with_index and split == "test":
    tuned = artefacts.load_tuned(settings.search, output)
  retriever = artefacts.load_retriever(
    output,
    data,
    with_index,
    settings.search.item_state_dtype,
    None if tuned is None else tuned.entries,
  )
  held_out = data.held_out(split)
  asked = settings.evaluation.num_test_batch
  if split == "test" and len(held_out) < asked:
    console.warn(f"{len(held_out):,} test users are there, not {asked:,}")
  plan = None
  if retriever.index is not None:
    k = max(clamped(settings.evaluation.topk_eval, len(retriever.items)))
    start_level = retriever.index.hnsw.start_level
    plan = artefacts.search_plan(settings.search, tuned, start_level, k)
  return Bench(output, data, held_out.first(asked), retriever, plan)


def clamped(topk_eval: Sequence[int], num_items: int) -> list[int]:
  """Returns the ks in order, none above the number of items."""
  return sorted({min(k, num_items) for k in topk_eval})


def run_search(
  search: Search, histories: np.ndarray, description: str
) -> tuple[results.SearchResult, float]:
  """Runs a search with a progress bar.

  Returns:
    The answers, and milliseconds per user.
  """
  begin = time.monotonic()
  with console.progress(len(histories), "user", description) as bar:
    answers = results.concatenate(list(search(histories, bar.update)))
  elapsed_ms = 1e3 * (time.monotonic() - begin)
  return answers, elapsed_ms / len(histories)


def single_latency(search: Search, histories: np.ndarray) -> dict[str, float]:
  """Times the search for one user at a time. Returns milliseconds."""
  times_ms = []
  for history in histories:
    begin = time.monotonic()
    for _ in search(history[None], lambda users: None):
      pass
    times_ms.append(1e3 * (time.monotonic() - begin))
  warm = np.array(times_ms[len(times_ms) // 10 :])
  return {
    "mean": float(warm.mean()),
    "p50": float(np.percentile(warm, 50)),
    "p99": float(np.percentile(warm, 99)),
  }


def exact_rows(
  retriever: Retriever, histories: np.ndarray, k: int
) -> np.ndarray:
  """Returns [n, K] int32 rows of exact scoring, with a progress bar."""
  with console.progress(len(histories), "user", "exact scoring") as bar:
    found = brute_force.exact_search(retriever, histories, k, bar.update)
    return results.concatenate(list(found)).rows


def answers_to_training_users(
  retriever: Retriever,
  data: dataset.PreparedData,
  num_users: int,
  length: int,
  k: int,
  seed: int,
) -> np.ndarray:
  """Returns [n, K] int32 rows of exact scoring for some training users.

  Args:
    retriever: Scorer and items.
    data: The data set.
    num_users: Users, at most.
    length: L, items of a history.
    k: K.
    seed: Which users.

  Raises:
    ValueError: The records do not hold users, but windows.
  """
  histories = data.train_histories(num_users, length, seed)
  return exact_rows(retriever, histories, k)


def exact_answers(bench: Bench, num_users: int, k: int) -> np.ndarray:
  """Returns [num_users, K] item ids of exact scoring, kept between jobs."""
  path = bench.output.metrics / _EXACT_FILE
  fingerprint = files.checksum(bench.output.item_embeddings)
  users = bench.held_out.user_ids[:num_users].astype(bytes)
  kept = _kept_answers(path, fingerprint, users, k)
  if kept is not None:
    return kept[:, :k]

  def search(
    histories: np.ndarray, progress: Callable[[int], Any]
  ) -> Iterator[results.SearchResult]:
    return brute_force.exact_search(bench.retriever, histories, k, progress)

  histories = bench.held_out.histories[:num_users]
  answers, per_user_ms = run_search(search, histories, "exact scoring")
  console.say(
    f"exact scoring: {num_users:,} users, {per_user_ms:,.1f} ms a user"
  )
  item_ids = bench.to_item_ids(answers.rows)
  with files.written_whole(path) as temporary:
    np.savez(
      temporary,
      item_ids=item_ids,
      user_ids=users,
      embeddings=np.array(fingerprint),
    )
  return item_ids


def _kept_answers(
  path: pathlib.Path, fingerprint: str, users: np.ndarray, k: int
) -> np.ndarray | None:
  """Returns exact answers of an earlier job if they are for the same case."""
  if not path.exists():
    return None
  with np.load(path, allow_pickle=False) as kept:
    same = (
      str(kept["embeddings"]) == fingerprint
      and np.array_equal(kept["user_ids"][: len(users)], users)
      and kept["item_ids"].shape[1] >= k
    )
    return kept["item_ids"][: len(users)] if same else None


def baseline_answers(bench: Bench, k: int) -> dict[str, np.ndarray]:
  """Returns [n, K] item ids of each baseline."""
  try:
    sequences = bench.data.train_sequences()
  except ValueError as error:
    console.warn(f"no baselines: {error}")
    return {}
  baselines = Baselines(
    sequences.item_ids, sequences.row_splits, bench.data.catalogue.num_items
  )
  held_out = bench.held_out
  answers = {"most popular": baselines.most_popular(len(held_out), k)}
  with console.progress(len(held_out), "user", "baselines") as bar:
    answers |= baselines.item_item(held_out.histories, k, bar.update)
  return answers


def recalls_of(
  bench: Bench, answers: dict[str, np.ndarray], ks: Sequence[int]
) -> list[dict[str, Any]]:
  """Measures several methods, on as many users as each answered."""
  novel = bench.held_out.novel()
  return [
    evaluation.recall(
      method,
      item_ids,
      bench.held_out.targets[: len(item_ids)],
      novel[: len(item_ids)],
      k,
    ).to_json()
    for k in ks
    for method, item_ids in answers.items()
  ]


def print_recalls(recalls: Sequence[dict[str, Any]]) -> None:
  """Prints the recall table."""

  def cell(share: dict[str, Any]) -> str:
    return f"{share['mean']:.4f} ± {share['standard_error']:.4f}"

  console.table(
    f"recall of the held-out item ({recalls[0]['all_targets']['count']:,} test"
    f" users, {recalls[0]['novel_targets']['count']:,} with a target outside"
    " their history)",
    ["method", "k", "recall, all", "recall, novel", "precision", "F1"],
    [
      (
        row["method"],
        str(row["k"]),
        cell(row["all_targets"]),
        cell(row["novel_targets"]),
        f"{row['precision']:.5f}",
        f"{row['f1']:.5f}",
      )
      for row in recalls
    ],
  )
