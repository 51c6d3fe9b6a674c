"""How many items each policy scores for a coverage, over their settings.

Both policies climb ladders of settings; what a coverage costs is interpolated
between the rungs, and the cheapest ladder counts. Policy paper goes on with
wider beams until one reaches the highest coverage. Measured on test users; the
entries of best_first come from answers to training users.
"""

import argparse
import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import corpora
import harness
import numpy as np
import trained_run

from nann import console, pictures
from nann.jobs import measuring
from nann.retrieval import entries, metrics, tuning
from nann.retrieval import result as results
from nann.retrieval.retriever import Retriever

_TARGETS = (0.90, 0.95, 0.975, 0.99)
_PAPER = results.PaperPolicy((400, 200, 100), (3, 1, 1))
# Of the beams of policy paper, where the usual ones are too narrow.
_WIDER = (8.0, 16.0, 32.0, 64.0)
_NUM_FREQUENT = 128


def main() -> None:
  """Runs the benchmark."""
  parser = harness.parser(__doc__ or "")
  trained_run.add_arguments(parser)
  parser.add_argument("--k", type=int, default=200)
  parser.add_argument("--num-users", type=int, default=300)
  parser.add_argument(
    "--corpus",
    type=int,
    metavar="I",
    help="a part of the items, with those of the histories, or more than there"
    " are (corpora.py)",
  )
  parser.add_argument("--png", metavar="FILE", help="also draw the curves")
  arguments = parser.parse_args()
  run = trained_run.load(arguments)
  users = test_users(run, arguments.num_users)
  if arguments.corpus:
    retriever = corpora.of_size(
      run, arguments.corpus, arguments.k, seed=0, kept=users.histories
    )
    run = dataclasses.replace(run, retriever=retriever)
  figures, points = _measure(run, users, arguments)
  harness.report(
    f"items scored for a coverage@{arguments.k}: {run.name},"
    f" {run.num_items:,} items",
    figures,
    arguments.json,
  )
  if arguments.png:
    figure = pictures.sweep_curves(points, arguments.k)
    pictures.save(figure, pathlib.Path(arguments.png))


class Users(NamedTuple):
  """Test users.

  Attributes:
    histories: [n, L] int64 item ids.
    targets: [n] int64 item ids.
  """

  histories: np.ndarray
  targets: np.ndarray


def test_users(run: trained_run.TrainedRun, number: int) -> Users:
  """Returns some test users."""
  held_out = run.data.held_out("test")
  chosen = np.random.default_rng(0).permutation(len(held_out))[:number]
  return Users(held_out.histories[chosen], held_out.targets[chosen])


def _measure(
  run: trained_run.TrainedRun, users: Users, arguments: argparse.Namespace
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
  k = min(arguments.k, run.num_items)
  histories = users.histories
  exact = measuring.exact_rows(run.retriever, histories, k)
  target_rows = run.retriever.items.rows_of(users.targets)
  answers = measuring.answers_to_training_users(
    run.retriever, run.data, arguments.num_users, histories.shape[1], k, seed=0
  )
  frequent = entries.frequent_answers(answers, _NUM_FREQUENT)
  retriever = run.retriever.with_entries(frequent)
  figures: dict[str, Any] = {"num_items": run.num_items}
  shown: list[dict[str, Any]] = []
  for name in ("best_first", "paper"):
    ladders = climb(name, retriever, histories, exact)
    shown += [
      _shown(name, point, target_rows, exact, run.num_items)
      for ladder in ladders
      for point in ladder
    ]
    figures |= _figures(name, ladders, target_rows, exact)
  for target in _TARGETS:
    label = _label(target)
    ours, paper = (
      figures[f"{name}_at_{label}"] for name in ("best_first", "paper")
    )
    figures[f"ratio_at_{label}"] = ours / paper if ours and paper else None
  return figures, shown


def climb(
  name: str, retriever: Retriever, histories: np.ndarray, exact: np.ndarray
) -> list[list[tuning.Point]]:
  """Climbs the ladders of a policy.

  Args:
    name: Of the policy.
    retriever: Scorer, items, graphs and entries.
    histories: [n, L] int64 item ids.
    exact: [n, K] int32 rows of the exact answer.
  """
  assert retriever.index is not None
  k, start_level = exact.shape[1], retriever.index.hnsw.start_level
  wider: list[list[results.Policy]] = []
  if name == "best_first":
    usual = list(tuning.best_first_policies(k, 64, 10**6))
  else:
    given = (k, _PAPER.widths, _PAPER.hops, start_level)
    usual = list(tuning.paper_policies(*given))
    wider = list(tuning.paper_policies(*given, _WIDER))
  points: list[list[tuning.Point]] = []
  with console.progress(sum(map(len, usual + wider)), "setting", name) as bar:
    for number, ladder in enumerate(usual + wider):
      if number >= len(usual) and evaluations_at(points, max(_TARGETS)):
        break
      points.append([])
      for policy in ladder:
        bar.update(1)
        points[-1].append(tuning.measure(retriever, policy, histories, exact))
        if points[-1][-1].coverage.mean() >= max(_TARGETS):
          break
  return points


def _figures(
  name: str,
  ladders: Sequence[Sequence[tuning.Point]],
  targets: np.ndarray,
  exact: np.ndarray,
) -> dict[str, Any]:
  figures: dict[str, Any] = {
    f"{name}_at_{_label(target)}": evaluations_at(ladders, target)
    for target in _TARGETS
  }
  points = [point for ladder in ladders for point in ladder]
  good = [p for p in points if p.coverage.mean() >= 0.975]
  best = min(good, key=lambda p: p.evaluations.mean(), default=None)
  best = best or max(points, key=lambda p: p.coverage.mean())
  recall_all = metrics.hits(exact, targets, exact.shape[1]).mean()
  recall = metrics.hits(best.rows, targets, exact.shape[1]).mean()
  return figures | {
    f"{name}_settings": str(best.policy),
    f"{name}_num_scored": float(best.evaluations.mean()),
    f"{name}_coverage": float(best.coverage.mean()),
    f"{name}_coverage_p5": float(np.percentile(best.coverage, 5)),
    f"{name}_coverage_min": float(best.coverage.min()),
    f"{name}_recall_all": float(recall_all),
    f"{name}_recall": float(recall),
    f"{name}_delta": metrics.delta(float(recall_all), float(recall)),
  }


def evaluations_at(
  ladders: Sequence[Sequence[tuning.Point]], target: float
) -> float | None:
  """Returns the fewest evaluations that reach a mean coverage; None: none do.

  Args:
    ladders: Points of growing coverage.
    target: The mean coverage.
  """
  costs: list[float] = []
  for ladder in ladders:
    coverage = [float(point.coverage.mean()) for point in ladder]
    cost = [float(point.evaluations.mean()) for point in ladder]
    above = [i for i, value in enumerate(coverage) if value >= target]
    if not above:
      continue
    i = above[0]
    if i > 0:
      share = (target - coverage[i - 1]) / (coverage[i] - coverage[i - 1])
      costs.append(cost[i - 1] + share * (cost[i] - cost[i - 1]))
    else:
      costs.append(cost[0])
  return min(costs, default=None)


def _label(target: float) -> str:
  return f"{100 * target:g}"


def _shown(
  name: str,
  point: tuning.Point,
  targets: np.ndarray,
  exact: np.ndarray,
  num_items: int,
) -> dict[str, Any]:
  k = exact.shape[1]
  return {
    "policy": name,
    "scored_fraction": float(point.evaluations.mean()) / num_items,
    "coverage": float(point.coverage.mean()),
    "recall": float(metrics.hits(point.rows, targets, k).mean()),
    "recall_all": float(metrics.hits(exact, targets, k).mean()),
  }


if __name__ == "__main__":
  main()
