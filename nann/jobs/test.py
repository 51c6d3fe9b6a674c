"""Job test: recall of the graph search, against exact scoring and baselines."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from nann import config, console, files, pictures
from nann.jobs import measuring
from nann.retrieval import answering, evaluation, metrics
from nann.retrieval import result as results

_LATENCY_USERS = 100
_SWEEP_USERS = 200


def run(settings: config.Config) -> None:
  """Runs the job."""
  bench = measuring.set_up(settings, with_index=True)
  assert bench.plan is not None
  ks = measuring.clamped(settings.evaluation.topk_eval, bench.num_items)
  search = _search(bench, bench.plan, max(ks))
  method = _method(bench, bench.plan)
  histories = bench.held_out.histories
  # Traces the search, so that no timing contains it.
  for _ in search(histories[:1], lambda users: None):
    pass
  found, batched_ms = measuring.run_search(search, histories, "graph search")
  report: dict[str, Any] = {
    "num_users": len(bench.held_out),
    "num_items": bench.num_items,
    "method": method,
    "policy": settings.search.search_policy,
    "settings": dataclasses.asdict(bench.plan.policy),
    "latency_ms": {
      "batched": batched_ms,
      **measuring.single_latency(search, histories[:_LATENCY_USERS]),
    },
    "num_scored": metrics.evaluations(found.num_scored, bench.num_items),
  }
  name = f"NANN, {method}"
  answers = {name: bench.to_item_ids(found.rows)}
  num_exact = min(
    len(bench.held_out), settings.evaluation.max_exact_pairs // bench.num_items
  )
  exact = np.zeros((0, max(ks)), dtype=np.int64)
  if num_exact:
    exact = measuring.exact_answers(bench, num_exact, max(ks))
    answers["exact scoring"] = exact
  if 0 < num_exact < len(bench.held_out):
    console.warn(
      f"exact scoring of {num_exact:,} of {len(bench.held_out):,} users"
      " (--max-exact-pairs)"
    )
  if settings.evaluation.baselines:
    answers |= measuring.baseline_answers(bench, max(ks))
  report["recall"] = measuring.recalls_of(bench, answers, ks)
  if num_exact:
    report["agreement"] = [
      evaluation.agreement(
        answers[name][:num_exact], exact, bench.held_out.targets[:num_exact], k
      ).to_json()
      for k in ks
    ]
  _print(report)
  if settings.evaluation.sweep:
    if not num_exact:
      raise ValueError("--sweep needs exact answers; raise --max-exact-pairs")
    report["sweep"] = _sweep(settings, bench, exact, max(ks))
    figure = pictures.sweep_curves(report["sweep"], max(ks))
    pictures.save(figure, bench.output.metrics / "sweep.png")
  files.save_json(bench.output.metrics / "test.json", report)
  pictures.save(
    pictures.recall_bars(report["recall"], max(ks)),
    bench.output.metrics / "test.png",
  )
  console.say(f"results in {bench.output.metrics / 'test.json'}")


def _method(bench: measuring.Bench, plan: answering.Plan) -> str:
  """Returns what answers the queries, in a word."""
  if answering.uses_scan(plan, bench.num_items, 1, None)[0]:
    return "scan"
  is_paper = isinstance(plan.policy, results.PaperPolicy)
  return "paper" if is_paper else "best_first"


def _search(
  bench: measuring.Bench, plan: answering.Plan, k: int
) -> measuring.Search:
  def search(
    histories: np.ndarray, progress: Callable[[int], Any]
  ) -> Iterator[results.SearchResult]:
    return answering.answer(bench.retriever, plan, histories, k, progress)

  return search


def _print(report: dict[str, Any]) -> None:
  measuring.print_recalls(report["recall"])
  scored, latency = report["num_scored"], report["latency_ms"]
  per_step = ", ".join(f"{x:.0f}" for x in scored["per_step"])
  console.say(
    f"items scored per query: mean {scored['mean']:,.0f}, p50"
    f" {scored['p50']:,.0f}, p99 {scored['p99']:,.0f}"
    f" ({scored['scored_fraction']:.2%} of {report['num_items']:,}); by step:"
    f" {per_step}"
  )
  console.say(
    f"latency: {latency['batched']:.2f} ms a user in batches; one at a time"
    f" mean {latency['mean']:.2f}, p50 {latency['p50']:.2f}, p99"
    f" {latency['p99']:.2f} ms"
  )
  for row in report.get("agreement", []):
    console.say(
      f"k = {row['k']}: coverage {row['coverage']['mean']:.4f} (p5"
      f" {row['coverage_p5']:.3f}, min {row['coverage_min']:.3f}); recall-all"
      f" {row['recall_all']['mean']:.4f}, recall-retrieval"
      f" {row['recall_retrieval']['mean']:.4f}, delta {row['delta']:.2%}"
    )


def _sweep(
  settings: config.Config, bench: measuring.Bench, exact: np.ndarray, k: int
) -> list[dict[str, Any]]:
  """Measures both policies over a grid of settings, on some of the users."""
  number = min(_SWEEP_USERS, len(exact))
  histories = bench.held_out.histories[:number]
  targets = bench.held_out.targets[:number]
  points: list[dict[str, Any]] = []
  policies = list(_sweep_policies(settings.search, bench, k))
  with console.progress(len(policies), "setting", "sweep") as bar:
    for name, policy in policies:
      found = results.concatenate(
        list(bench.retriever.search(histories, policy, k))
      )
      item_ids = bench.to_item_ids(found.rows)
      row = evaluation.agreement(item_ids, exact[:number], targets, k)
      points.append(
        {
          "policy": name,
          "settings": dataclasses.asdict(policy),
          "num_scored": float(found.total_scored.mean()),
          "scored_fraction": float(found.total_scored.mean()) / bench.num_items,
          "coverage": row.coverage.mean,
          "recall": row.recall_retrieval.mean,
          "recall_all": row.recall_all.mean,
        }
      )
      bar.update(1)
  console.table(
    f"sweep over {number:,} users: coverage@{k} and recall@{k} by share scored",
    ["policy", "settings", "scored", "% of all", "coverage", "recall"],
    [
      (
        point["policy"],
        _short(point["settings"]),
        f"{point['num_scored']:,.0f}",
        f"{100 * point['scored_fraction']:.2f}",
        f"{point['coverage']:.4f}",
        f"{point['recall']:.4f}",
      )
      for point in points
    ],
  )
  return points


def _sweep_policies(
  search: config.SearchSettings, bench: measuring.Bench, k: int
) -> Iterator[tuple[str, results.Policy]]:
  for ef in (1.0, 1.25, 1.6, 2.0, 3.0):
    for width in (16, 64):
      yield (
        "best_first",
        results.BestFirstPolicy(
          int(ef * k), width, search.max_search_steps, search.max_evaluations
        ),
      )
  assert bench.retriever.index is not None
  start_level = bench.retriever.index.hnsw.start_level
  for scale in (0.25, 0.5, 1.0, 2.0):
    for hops in (1, 2, 3, 5):
      widths = [max(1, int(scale * w)) for w in search.top_k_per_level]
      # Fewer than k answers would not be comparable.
      widths[0] = max(widths[0], k)
      policy = results.PaperPolicy(
        tuple(widths), (hops, *search.num_scoring_per_level[1:])
      )
      yield "paper", policy.for_start_level(start_level)


def _short(policy: dict[str, Any]) -> str:
  shown: Sequence[str] = ("ef", "width", "widths", "hops")
  return " ".join(
    f"{key}={value}".replace(" ", "").replace("(", "").replace(")", "")
    for key, value in policy.items()
    if key in shown
  )
