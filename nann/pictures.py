"""The pictures: recall, training curves, the sweep. Matplotlib, no display."""

import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from nann import files

STYLE: Any = {
  "font.size": 10,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.grid": True,
  "axes.axisbelow": True,
  "grid.color": "#e4e4e8",
  "axes.edgecolor": "#8a8a94",
  "axes.labelcolor": "#33333a",
  "xtick.color": "#55555e",
  "ytick.color": "#55555e",
  "svg.fonttype": "none",
  "figure.constrained_layout.use": True,
}
_NO_METADATA = dict.fromkeys(["Date", "Creator", "Format", "Type"])
OURS, EXACT, OTHER, SECOND = "#0b6e8f", "#1d2b3a", "#b9c0c9", "#d9762b"


def save(figure: Figure, path: pathlib.Path) -> None:
  """Writes a picture whole; the suffix of the name says the format."""
  with files.written_whole(path) as temporary:
    figure.savefig(temporary, dpi=144)
  plt.close(figure)


def to_svg(figure: Figure) -> str:
  """Returns a picture as an <svg> element to put into a page."""
  stream = io.StringIO()
  figure.savefig(stream, format="svg", metadata=_NO_METADATA)
  plt.close(figure)
  text = stream.getvalue()
  return text[text.index("<svg") :]


def recall_bars(recalls: Sequence[Mapping[str, Any]], k: int) -> Figure:
  """Draws the recall of each method with its standard error.

  Args:
    recalls: `evaluation.Recall` as dicts; the first ones are ours.
    k: The k to draw.
  """
  rows = [row for row in recalls if row["k"] == k][::-1]
  with plt.rc_context(STYLE):
    figure, axes = plt.subplots(figsize=(7, 0.55 * len(rows) + 1.1))
    for place, row in enumerate(rows):
      ours = row["method"].startswith("NANN")
      exact = row["method"].startswith("exact")
      color = OURS if ours else EXACT if exact else OTHER
      every, novel = row["all_targets"], row["novel_targets"]
      axes.barh(
        place + 0.19,
        every["mean"],
        0.36,
        xerr=every["standard_error"],
        color=color,
        ecolor="#55555e",
      )
      axes.barh(
        place - 0.19,
        novel["mean"],
        0.36,
        xerr=novel["standard_error"],
        color=color,
        alpha=0.45,
        ecolor="#55555e",
      )
    axes.set_yticks(range(len(rows)), [row["method"] for row in rows])
    axes.set_xlabel(f"recall@{k}: all targets (full), not in history (pale)")
    axes.grid(axis="y", visible=False)
  return figure


def training_curves(log: Sequence[Mapping[str, float]]) -> Figure:
  """Draws loss and accuracy over the steps.

  Args:
    log: The lines of the training log.
  """
  steps = [line["step"] for line in log]
  with plt.rc_context(STYLE):
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    left.plot(steps, [line["loss_clean"] for line in log], color=OURS)
    left.set_xlabel("step")
    left.set_ylabel("loss")
    right.plot(steps, [line["accuracy"] for line in log], color=OURS)
    right.set_xlabel("step")
    right.set_ylabel("positive ranked first")
  return figure


def sweep_curves(points: Sequence[Mapping[str, Any]], k: int) -> Figure:
  """Draws coverage and recall against the share of items scored.

  Args:
    points: Dicts with policy, scored_fraction, coverage, recall, recall_all.
    k: Answers that counted.
  """
  colors = {"best_first": OURS, "paper": SECOND}
  with plt.rc_context(STYLE):
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    for policy, color in colors.items():
      of_policy = [point for point in points if point["policy"] == policy]
      of_policy.sort(key=lambda point: point["scored_fraction"])
      shares = [100 * point["scored_fraction"] for point in of_policy]
      for axes, key in ((left, "coverage"), (right, "recall")):
        values = [point[key] for point in of_policy]
        axes.plot(shares, values, "o", color=color, alpha=0.35, markersize=4)
        axes.plot(*front(shares, values), "-", color=color, label=policy)
    if points:
      right.axhline(
        points[0]["recall_all"], color=EXACT, linewidth=1, label="exact"
      )
    for axes, name in ((left, "coverage"), (right, "recall")):
      axes.set_xscale("log")
      axes.set_xlabel("items scored, % of all")
      axes.set_ylabel(f"{name}@{k}")
    right.legend(frameon=False)
  return figure


def tuning_curve(
  points: Sequence[Mapping[str, Any]], target_coverage: float, k: int
) -> Figure:
  """Draws coverage against the number of items scored.

  Args:
    points: Dicts with num_scored, coverage and coverage_p5.
    target_coverage: What was asked for.
    k: Answers that counted.
  """
  scored = [point["num_scored"] for point in points]
  with plt.rc_context(STYLE):
    figure, axes = plt.subplots(figsize=(5, 3.2))
    for key, color, label in (
      ("coverage", OURS, "mean"),
      ("coverage_p5", SECOND, "worst 5 % of users"),
    ):
      values = [point[key] for point in points]
      axes.plot(scored, values, "o", color=color, label=label, markersize=4)
    axes.axhline(target_coverage, color=EXACT, linewidth=1, label="target")
    axes.set_xscale("log")
    axes.set_xlabel("items scored")
    axes.set_ylabel(f"coverage@{k}")
    axes.legend(frameon=False)
  return figure


def front(
  costs: Sequence[float], values: Sequence[float]
) -> tuple[list[float], list[float]]:
  """Returns the points that no cheaper point surpasses."""
  kept: tuple[list[float], list[float]] = ([], [])
  best = float("-inf")
  for cost, value in sorted(zip(costs, values, strict=True)):
    if value > best:
      best = value
      kept[0].append(cost)
      kept[1].append(value)
  return kept


def evaluations_per_step(per_step: Sequence[float]) -> Figure:
  """Draws the mean number of items scored at each step of the search."""
  with plt.rc_context(STYLE):
    figure, axes = plt.subplots(figsize=(7, 2.6))
    axes.bar(range(len(per_step)), per_step, color=OURS)
    axes.set_xlabel("step of the search (0: the entries)")
    axes.set_ylabel("items scored")
    axes.grid(axis="x", visible=False)
  return figure
