"""Job tune: the cheapest search that reaches a coverage.

Measured on validation users; test, export and serving take what it finds.
"""

from typing import Any

import numpy as np

from nann import config, console, pictures
from nann.jobs import artefacts, measuring
from nann.retrieval import cost_model, entries, tuning
from nann.retrieval.result import Policy
from nann.retrieval.retriever import Retriever

# How many frequent answers are tried as entries beside the history.
_FREQUENT = (64, 128)


def run(settings: config.Config) -> None:
  """Runs the job."""
  bench = measuring.set_up(settings, with_index=True, split="validate")
  evaluation = settings.evaluation
  histories = _histories(settings, bench)
  k = max(measuring.clamped(evaluation.topk_eval, bench.num_items))
  exact = measuring.exact_rows(bench.retriever, histories, k)
  entry_sets = _entry_sets(settings, bench, k)
  ladders = list(_ladders(settings.search, bench, k))
  total = len(entry_sets) * sum(map(len, ladders))
  found: dict[str, tuning.Point] = {}
  points: list[dict[str, Any]] = []
  with console.progress(total, "setting", "tuning") as bar:
    for name, rows in entry_sets.items():
      retriever = bench.retriever.with_entries(rows)

      def measure(
        policy: Policy, retriever: Retriever = retriever
      ) -> tuning.Point:
        bar.update(1)
        return tuning.measure(retriever, policy, histories, exact)

      best, measured = tuning.cheapest(
        ladders, measure, evaluation.target_coverage
      )
      points += [{"entries": name, **_described(point)} for point in measured]
      if best is not None:
        found[name] = best
    # A ladder ends where the target is reached.
    bar.total = bar.n
  _print(points, k)
  figure = pictures.tuning_curve(points, evaluation.target_coverage, k)
  pictures.save(figure, bench.output.metrics / "tune.png")
  if not found:
    raise ValueError(
      f"no setting reaches --target-coverage {evaluation.target_coverage}; the"
      f" best is {max(p['coverage'] for p in points):.4f}. Raise"
      " --max-search-steps or --max-evaluations, use --search-mode scan, or"
      " lower the target"
    )
  name = min(found, key=lambda name: found[name].evaluations.mean())
  _write(settings, bench, found[name], entry_sets[name], len(histories))


def _entry_sets(
  settings: config.Config, bench: measuring.Bench, k: int
) -> dict[str, np.ndarray]:
  """Returns the rows to try as entries beside the history, by name."""
  if settings.search.search_policy == "paper":
    return {"entry level": bench.retriever.entries}
  sets = {"medoids": bench.retriever.entries}
  try:
    answers = measuring.answers_to_training_users(
      bench.retriever,
      bench.data,
      min(settings.evaluation.num_tune_users, _affordable(settings, bench)),
      bench.held_out.histories.shape[1],
      k,
      settings.run.seed,
    )
  except ValueError as error:
    console.warn(f"no frequent answers as entries: {error}")
    return sets
  for count in _FREQUENT:
    sets[f"{count} frequent"] = entries.frequent_answers(answers, count)
  return sets


def _affordable(settings: config.Config, bench: measuring.Bench) -> int:
  """Returns for how many users all items may be scored."""
  return settings.evaluation.max_exact_pairs // bench.num_items


def _histories(settings: config.Config, bench: measuring.Bench) -> np.ndarray:
  number = min(
    settings.evaluation.num_tune_users,
    _affordable(settings, bench),
    len(bench.held_out),
  )
  if not number:
    raise ValueError(
      "there is no validation user to measure on; raise"
      " --num-validation-users of prepare_data or --max-exact-pairs"
    )
  return bench.held_out.histories[:number]


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


def _print(points: list[dict[str, Any]], k: int) -> None:
  console.table(
    f"coverage@{k} by items scored",
    list(points[0]),
    [
      tuple(
        f"{value:,.4g}" if isinstance(value, float) else str(value)
        for value in point.values()
      )
      for point in points
    ],
  )


def _write(
  settings: config.Config,
  bench: measuring.Bench,
  best: tuning.Point,
  rows: np.ndarray,
  num_users: int,
) -> None:
  described = _described(best)
  tuned = artefacts.policy_settings(best.policy)
  artefacts.save_tuned(
    bench.output,
    {
      "search_policy": settings.search.search_policy,
      "settings": tuned,
      "num_scored": described["num_scored"],
      "coverage": described["coverage"],
      "target_coverage": settings.evaluation.target_coverage,
      "num_users": num_users,
      "num_entries": len(rows),
    },
    rows,
  )
  cost = cost_model.CostModel(described["num_scored"])
  if cost.prefers_scan(bench.num_items):
    console.say(f"a scan of all {bench.num_items:,} items costs less still")
  console.say(
    f"{described['num_scored']:,.0f} of {bench.num_items:,} items scored for"
    f" coverage {described['coverage']:.4f}: {tuned} ->"
    f" {bench.output.search_settings}"
  )
