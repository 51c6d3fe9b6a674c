"""The table of benchmark/full_scale.py, for the terminal and for README.md."""

import pathlib
from collections.abc import Mapping

import full_scale_steps
from page_parts import Table

_SHARED = ("number", "seconds", "number_per_s", "peak_rss_gb", "processor_s")
_HEAD = ("step", "number", "s", "a second", "peak GB", "more", "we aim at")


def of_figures(figures: Mapping[str, float]) -> Table:
  """Returns a row for each step.

  Args:
    figures: Of a run, named "STEP: FIGURE".
  """
  whole = full_scale_steps.Scale(full_scale_steps.ROWS, pathlib.Path(), 1, 1, 1)
  goals = {step.name: step.goal for step in full_scale_steps.steps(whole)}
  of_steps: dict[str, dict[str, float]] = {}
  for name, value in figures.items():
    step, figure = name.split(": ")
    of_steps.setdefault(step, {})[figure] = value
  return Table(
    _HEAD,
    [[step, *_cells(found), goals[step]] for step, found in of_steps.items()],
    (),
  )


def _cells(figures: Mapping[str, float]) -> list[str]:
  more = (
    f"{name.replace('_', ' ')} {_shown(value)}"
    for name, value in figures.items()
    if name not in _SHARED
  )
  return [
    f"{figures['number']:,}",
    f"{figures['seconds']:,.1f}",
    f"{figures['number_per_s']:,.0f}",
    f"{figures['peak_rss_gb']:.2f}",
    ", ".join(more),
  ]


def _shown(value: float) -> str:
  return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
