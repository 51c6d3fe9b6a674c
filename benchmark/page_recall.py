"""The comparison with two towers on the benchmark page."""

from collections.abc import Sequence

import page_pictures
from page_parts import Block, Figures, Table

OURS, RERANKED = "NANN", "two-tower, re-ranked by the network"


def block(name: str, title: str, figures: Figures) -> Block:
  points, k = figures["points"], figures["k"]
  wanted = (f"recall_{at}_{of}" for at in (k, 20) for of in ("all", "novel"))
  keys = [key for key in dict.fromkeys(wanted) if key in points[0]]
  methods = list(dict.fromkeys(p["method"] for p in points))
  fastest = min(p["ms"] for p in points if p["method"] == OURS)
  budgets = [fastest * times for times in (1.0, 2.0, 4.0, 16.0)]
  rows = []
  for method in methods:
    row = [method]
    for budget in budgets:
      best = best_within(points, method, budget, keys[0])
      row.append(
        f"{best[keys[0]]:.3f} ± {best[keys[0] + '_error']:.3f}" if best else "-"
      )
    rows.append(row)
  pictures = [
    (
      f"{_targets(key)} of {figures['num_users']:,} test users",
      page_pictures.recall_against_latency(figures, key),
    )
    for key in keys
  ]
  return Block(
    name,
    title,
    f"{figures['num_items']:,} items. A plain vector index serves a two-tower"
    " model; the network can rank what that lets through anew, or choose among"
    " all items, by an exact scan or by our search. Each point is a setting;"
    " the line joins those that nothing cheaper surpasses."
    f" {_training(figures)}User's side, walk and ranking are all in the time."
    " Bars: standard errors. The table: the best recall within a time.",
    page_pictures.to_svgs(pictures),
    [
      Table(
        ["method", *(f"{budget:.2g} ms" for budget in budgets)],
        rows,
        [methods.index(OURS)],
      )
    ],
    [f"{title}: {loss}" for loss in recall_losses(points, keys, budgets)],
  )


def _training(figures: Figures) -> str:
  """Says what was trained and for how long, where it is known."""
  known = {
    name: seconds
    for name, seconds in figures.get("training_s", {}).items()
    if seconds is not None
  }
  if len(known) < 2:
    return ""
  parts = [f"{name} for {seconds:.0f} s" for name, seconds in known.items()]
  return f"Trained on the same data: {' and '.join(parts)}. "


def recall_losses(
  points: Sequence[Figures], keys: Sequence[str], budgets: Sequence[float]
) -> list[str]:
  """Says who finds as much as we do or more in the same time.

  Args:
    points: Of recall_latency.py.
    keys: The recalls that count.
    budgets: Milliseconds.

  Returns:
    A sentence for each other method and recall: where it is ahead most.
  """
  losses = []
  others = list(dict.fromkeys(p["method"] for p in points))
  others.remove(OURS)
  for method in others:
    for key in keys:
      found = []
      for budget in budgets:
        ours = best_within(points, OURS, budget, key)
        theirs = best_within(points, method, budget, key)
        if ours and theirs and theirs[key] >= ours[key]:
          found.append((theirs[key] - ours[key], budget, theirs[key]))
      if found:
        lead, budget, recall = max(found)
        verb = "finds more" if lead > 0 else "finds as much"
        losses.append(
          f"{method} {verb} within {budget:.2g} ms:"
          f" {_recall_name(key)} {recall:.3f}, ours {recall - lead:.3f}"
        )
  return losses


def _recall_name(key: str) -> str:
  _, k, targets = key.split("_")
  return f"recall@{k} of {targets} targets"


def _targets(key: str) -> str:
  _, k, targets = key.split("_")
  kind = "not in the history" if targets == "novel" else "all targets"
  return f"Held-out item among the first {k}, {kind};"


def best_within(
  points: Sequence[Figures], method: str, most_ms: float, recall: str
) -> Figures | None:
  """Returns the point of the highest recall that takes no longer."""
  fast = [p for p in points if p["method"] == method and p["ms"] <= most_ms]
  return max(fast, key=lambda p: p[recall], default=None)
