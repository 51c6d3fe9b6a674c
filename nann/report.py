"""The page that a run ends with: self-contained HTML, pictures inline."""

import colorsys
import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jinja2
import numpy as np

from nann import config, files, machine, pictures

_CHIPS = 40
# The golden angle: categories that are near in number differ in hue.
_HUE_STEP = 0.38196601


@dataclasses.dataclass(frozen=True)
class UserStory:
  """A user's history and what was found for him.

  Attributes:
    name: The raw user id.
    history: Item ids, oldest first, no padding.
    found: Item ids, best first.
    target: The held-out item.
  """

  name: str
  history: Sequence[int]
  found: Sequence[int]
  target: int


def write_report(
  path: pathlib.Path,
  settings: config.Config,
  command: str,
  test: dict[str, Any],
  training_log: Sequence[dict[str, float]],
  stories: Sequence[UserStory],
  raw_item_ids: np.ndarray,
  category_table: np.ndarray,
) -> None:
  """Writes the page.

  Args:
    path: The .html file.
    settings: What was run.
    command: The command that made it.
    test: Content of metrics/test.json, with the sweep.
    training_log: Lines of the training log.
    stories: Users to show.
    raw_item_ids: [I] the user's own ids, by item id - 1.
    category_table: [I + 1] category by item id.
  """
  k = max(row["k"] for row in test["recall"])
  environment = jinja2.Environment(
    loader=jinja2.PackageLoader("nann", "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
  )
  page = environment.get_template("report.html").render(
    title="NANN on synthetic behavior",
    summary=(
      "A neural scorer was trained on a behavior log, its items joined into a"
      " graph, and the graph searched for every test user."
    ),
    command=command,
    k=k,
    num_users=f"{test['num_users']:,}",
    numbers=_numbers(test, k),
    recalls=[_recall_row(row) for row in test["recall"]],
    pictures={
      "recall": pictures.to_svg(pictures.recall_bars(test["recall"], k)),
      "sweep": pictures.to_svg(pictures.sweep_curves(test["sweep"], k)),
      "steps": pictures.to_svg(
        pictures.evaluations_per_step(test["num_scored"]["per_step"])
      ),
      "training": pictures.to_svg(pictures.training_curves(training_log)),
    },
    users=[_user(story, raw_item_ids, category_table) for story in stories],
    machine=_machine_sentence(),
    configuration=json.dumps(dataclasses.asdict(settings), indent=2),
  )
  with files.written_whole(path) as temporary:
    temporary.write_text(page)


def _machine_sentence() -> str:
  facts, versions = machine.describe(), machine.versions()
  return (
    f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gb']} GB;"
    f" Python {versions['python']}, TensorFlow {versions['tensorflow']}"
  )


def _numbers(test: dict[str, Any], k: int) -> list[dict[str, str]]:
  agreement = next(row for row in test["agreement"] if row["k"] == k)
  scored = test["num_scored"]
  return [
    {
      "value": f"{agreement['recall_retrieval']['mean']:.3f}",
      "label": f"recall@{k} of the search (exact scoring:"
      f" {agreement['recall_all']['mean']:.3f})",
    },
    {
      "value": f"{agreement['coverage']['mean']:.1%}",
      "label": f"of the exact top {k} found",
    },
    {
      "value": f"{scored['scored_fraction']:.1%}",
      "label": f"of {test['num_items']:,} items scored"
      f" ({scored['mean']:,.0f} a query)",
    },
    {
      "value": f"{test['latency_ms']['p50']:.1f} ms",
      "label": "median query, one at a time",
    },
  ]


def _recall_row(row: dict[str, Any]) -> dict[str, Any]:
  def cell(share: dict[str, Any]) -> str:
    return f"{share['mean']:.3f} ± {share['standard_error']:.3f}"

  return {
    "method": row["method"],
    "ours": row["method"].startswith("NANN"),
    "k": row["k"],
    "all": cell(row["all_targets"]),
    "novel": cell(row["novel_targets"]),
    "precision": f"{row['precision']:.5f}",
    "f1": f"{row['f1']:.5f}",
  }


def _user(
  story: UserStory, raw_item_ids: np.ndarray, category_table: np.ndarray
) -> dict[str, Any]:
  found = list(story.found)
  place = found.index(story.target) + 1 if story.target in found else None
  history = set(story.history)

  def chip(item_id: int) -> dict[str, Any]:
    raw = raw_item_ids[item_id - 1]
    return {
      "name": raw.decode() if isinstance(raw, bytes) else str(raw),
      "color": _color(int(category_table[item_id])),
      "target": item_id == story.target,
      "seen": item_id in history,
    }

  return {
    "name": story.name,
    "outcome": (
      f"next item found at place {place}" if place else "next item not found"
    ),
    "history": [chip(item_id) for item_id in story.history],
    "found": [chip(item_id) for item_id in found[:_CHIPS]],
  }


def _color(category: int) -> str:
  hue = category * _HUE_STEP % 1.0
  red, green, blue = colorsys.hls_to_rgb(hue, 0.84, 0.62)
  return f"rgb({red * 255:.0f},{green * 255:.0f},{blue * 255:.0f})"
