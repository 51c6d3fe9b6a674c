"""Recall and coverage against latency and items scored, for a trained model.

Recall is that of the held-out item of test users. Beside ours stand the exact
scan and what one would do without a neural metric: a two-tower model trained on
the same data for as long, searched by faiss, alone or with its best items
ranked anew by the neural scorer. All on one thread, one user at a time, the
user's side included.
"""

import argparse
import copy
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import frozen
import harness
import neural_peers
import numpy as np
import trained_run
import two_tower_peers

from nann import console
from nann.jobs import measuring
from nann.retrieval import entries, metrics, tuning
from nann.retrieval import result as results

_NUM_FREQUENT = 128
_RERANKED = (200, 500, 1000, 2000, 4000)
_TIMED_USERS = 100
_WIDTH, _MOST_STEPS = 16, 64
# A walk that is cut short, for those in a hurry.
_MOST_EVALUATIONS = (250, 400, 600)

# A method's name, its setting, and what answers.
Method = tuple[str, str, Callable[[np.ndarray], Any]]
OURS, EXACT = "NANN", "exact scan by the network"
TOWER, RERANKED = "two-tower", "two-tower, re-ranked by the network"


def main() -> None:
  """Runs the benchmark."""
  parser = harness.parser(__doc__ or "")
  trained_run.add_arguments(parser)
  parser.add_argument("--k", type=int, default=200)
  parser.add_argument("--num-users", type=int, default=1000)
  parser.add_argument("--repeats", type=int, default=3)
  parser.add_argument(
    "--two-tower-root", help="output root of a two-tower run that is there"
  )
  parser.add_argument(
    "--two-tower-steps",
    type=float,
    default=5.0,
    help="steps of its training, in units of --train-steps: as many as take as"
    " long as those of nann_plus",
  )
  parser.add_argument("--no-peers", action="store_true", help="only ours")
  arguments = parser.parse_args()
  run = trained_run.load(arguments)
  training_s, tower = {run.scorer: run.training_s}, None
  if not arguments.no_peers:
    run_of_tower = _run_of_tower(arguments)
    training_s[run_of_tower.scorer] = run_of_tower.training_s
    tower = two_tower_peers.TwoTower(run_of_tower.retriever)
  harness.report(
    f"recall against latency: {run.name}, {run.num_items:,} items",
    {
      "scorer": run.scorer,
      "training_s": training_s,
      **_measure(run, tower, arguments),
    },
    arguments.json,
  )


def _run_of_tower(arguments: argparse.Namespace) -> trained_run.TrainedRun:
  of_tower = copy.copy(arguments)
  of_tower.scorer = "two_tower"
  # Its own default, whatever the scorer is trained with.
  of_tower.adv_eps = None
  of_tower.train_steps = round(
    arguments.two_tower_steps * arguments.train_steps
  )
  if arguments.output_root:
    root = pathlib.Path(arguments.output_root)
    of_tower.dataset_dir = arguments.dataset_dir or str(root / "data")
    of_tower.output_root = arguments.two_tower_root
  return trained_run.load(of_tower, with_index=False)


def _measure(
  run: trained_run.TrainedRun,
  tower: two_tower_peers.TwoTower | None,
  arguments: argparse.Namespace,
) -> dict[str, Any]:
  k = min(arguments.k, run.num_items)
  held_out = run.data.held_out("test").sample(arguments.num_users, 0)
  histories = held_out.histories
  targets = run.retriever.items.rows_of(held_out.targets)
  exact = measuring.exact_rows(run.retriever, histories, k)
  points = []
  methods = list(_methods(run, tower, arguments.num_users, k))
  with console.progress(len(methods), "setting", "recall") as bar:
    for method, setting, answer in methods:
      points.append(
        {
          "method": method,
          "setting": setting,
          **_point(
            answer, histories, targets, exact, held_out.novel(), arguments
          ),
        }
      )
      bar.update(1)
  return {
    "k": k,
    "num_items": run.num_items,
    "num_users": len(histories),
    "num_novel": int(held_out.novel().sum()),
    "points": points,
  }


def _methods(
  run: trained_run.TrainedRun,
  tower: two_tower_peers.TwoTower | None,
  num_users: int,
  k: int,
) -> Iterator[Method]:
  answers = measuring.answers_to_training_users(
    run.retriever, run.data, num_users, run.data.max_length, k, seed=0
  )
  retriever = run.retriever.with_entries(
    entries.frequent_answers(answers, _NUM_FREQUENT)
  )
  for most in _MOST_EVALUATIONS:
    cut = results.BestFirstPolicy(k, _WIDTH, _MOST_STEPS, most)
    request = frozen.search_request(retriever, cut, k)
    yield OURS, f"ef {k}, at most {most} scored", request
  ladder, *_ = tuning.best_first_policies(k, _MOST_STEPS, 10**6)
  for policy in ladder:
    assert isinstance(policy, results.BestFirstPolicy)
    request = frozen.search_request(retriever, policy, k)
    yield OURS, f"ef {policy.ef}", request
  yield EXACT, "", neural_peers.exact_request(retriever, k)
  if tower is None:
    return
  for name, find in tower.answers(k, (1, 2, 4)):
    yield TOWER, name, find
  for number in _RERANKED:
    if number >= run.num_items:
      continue
    for name, find in tower.answers(number, (1,)):
      answer = two_tower_peers.reranked(retriever, find, k)
      yield RERANKED, f"{number} by {name}", answer


def _point(
  answer: Callable[[np.ndarray], Any],
  histories: np.ndarray,
  targets: np.ndarray,
  exact: np.ndarray,
  is_novel: np.ndarray,
  arguments: argparse.Namespace,
) -> dict[str, Any]:
  """Measures one setting of one method."""
  found = [answer(history[None]) for history in histories]
  num_scored = None
  if isinstance(found[0], np.ndarray):
    rows = np.concatenate(found)
  else:
    rows = np.concatenate([parts[0] for parts in found])
    if len(found[0]) > 2:
      num_scored = float(np.mean([parts[2].sum() for parts in found]))
  times = frozen.times_of(answer, histories[:_TIMED_USERS], arguments.repeats)
  per_user = 1e3 * np.median(times, axis=0)
  k = exact.shape[1]
  point: dict[str, Any] = {
    "ms": float(np.median(per_user)),
    "ms_q1": float(np.percentile(per_user, 25)),
    "ms_q3": float(np.percentile(per_user, 75)),
    "coverage": float(metrics.coverage(rows + 1, exact + 1, k).mean()),
    "num_scored": num_scored,
  }
  for at in sorted({min(20, k), k}):
    hits = metrics.hits(rows, targets, at)
    for name, values in (("all", hits), ("novel", hits[is_novel])):
      share = metrics.share(values)
      point[f"recall_{at}_{name}"] = share.mean
      point[f"recall_{at}_{name}_error"] = share.standard_error
  return point


if __name__ == "__main__":
  main()
