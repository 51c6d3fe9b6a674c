"""Job tune: the cheapest search that reaches a coverage.

Measured on validation users; test, export and serving take what it finds.
"""

import pathlib
from typing import Any

import numpy as np

from nann import config, console, files, pictures
from nann.jobs import artefacts, measuring
from nann.retrieval import brute_force, cost_model, tuning
from nann.retrieval import result as results
from nann.retrieval.result import Policy


def run(settings: config.Config) -> None:
  """Runs the job."""
  bench = measuring.set_up(settings, with_index=True, split="validate")
  evaluation = settings.evaluation
  histories = _histories(bench, evaluation)
  k = max(measuring.clamped(evaluation.topk_eval, bench.num_items))
  exact = _exact(bench, histories, k)
  ladders = list(_ladders(settings.search, bench, k))
  with console.progress(sum(map(len, ladders)), "setting", "tuning") as bar:

    def measure(policy: Policy) -> tuning.Point:
      point = tuning.measure(bench.retriever, policy, histories, exact)
      bar.update(1)
      return point

    best, points = tuning.cheapest(ladders, measure, evaluation.target_coverage)
    # A ladder ends where the target is reached.
    bar.total = bar.n
  _print(points, k)
  figure = pictures.tuning_curve(
    [_described(point) for point in points], evaluation.target_coverage, k
  )
  pictures.save(figure, bench.output.metrics / "tune.png")
  if best is None:
    raise ValueError(
      f"no setting reaches --target-coverage {evaluation.target_coverage}; the"
      f" best is {max(p.coverage.mean() for p in points):.4f}. Raise"
      " --max-search-steps or --max-evaluations, use --search-mode scan, or"
      " lower the target"
    )
  _write(settings, bench.output.search_settings, bench, best, len(histories))


def _histories(
  bench: measuring.Bench, evaluation: config.EvaluationSettings
) -> np.ndarray:
  affordable = evaluation.max_exact_pairs // bench.num_items
  number = min(evaluation.num_tune_users, affordable, len(bench.held_out))
  if not number:
    raise ValueError(
      "there is no validation user to measure on; raise"
      " --num-validation-users of prepare_data or --max-exact-pairs"
    )
  return bench.held_out.histories[:number]


def _exact(bench: measuring.Bench, histories: np.ndarray, k: int) -> np.ndarray:
  with console.progress(len(histories), "user", "exact scoring") as bar:
    found = brute_force.exact_search(bench.retriever, histories, k, bar.update)
    return results.concatenate(list(found)).rows


def _ladders(
  search: config.SearchSettings, bench: measuring.Bench, k: int
) -> Any:
  if search.search_policy == "best_first":
    return tuning.best_first_policies(
      k, search.max_search_steps, search.max_evaluations
    )
  assert bench.retriever.index is not None
  return tuning.paper_policies(
    k,
    search.top_k_per_level,
    search.num_scoring_per_level,
    bench.retriever.index.hnsw.start_level,
  )


def _described(point: tuning.Point) -> dict[str, Any]:
  return {
    **artefacts.policy_settings(point.policy),
    "num_scored": float(point.evaluations.mean()),
    "coverage": float(point.coverage.mean()),
    "coverage_p5": float(np.percentile(point.coverage, 5)),
    "coverage_min": float(point.coverage.min()),
  }


def _print(points: list[tuning.Point], k: int) -> None:
  rows = [_described(point) for point in points]
  names = list(rows[0])
  console.table(
    f"coverage@{k} by items scored",
    names,
    [
      tuple(
        f"{value:,.4g}" if isinstance(value, float) else str(value)
        for value in row.values()
      )
      for row in rows
    ],
  )


def _write(
  settings: config.Config,
  path: pathlib.Path,
  bench: measuring.Bench,
  best: tuning.Point,
  num_users: int,
) -> None:
  described = _described(best)
  tuned = artefacts.policy_settings(best.policy)
  files.save_json(
    path,
    {
      "search_policy": settings.search.search_policy,
      "settings": tuned,
      "num_scored": described["num_scored"],
      "coverage": described["coverage"],
      "target_coverage": settings.evaluation.target_coverage,
      "num_users": num_users,
      "parents": artefacts.search_parents(bench.output),
    },
  )
  cost = cost_model.CostModel(described["num_scored"])
  if cost.prefers_scan(bench.num_items):
    console.say(f"a scan of all {bench.num_items:,} items costs less still")
  console.say(
    f"{described['num_scored']:,.0f} of {bench.num_items:,} items scored for"
    f" coverage {described['coverage']:.4f}: {tuned} -> {path}"
  )
