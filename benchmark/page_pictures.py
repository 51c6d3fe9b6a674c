"""The pictures of the benchmark page. One panel each, so a phone shows them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from nann import pictures

_SIZE = (5.6, 3.9)
_COLORS = ("#d9762b", "#7a5195", "#5f8f3e", "#b9495c", "#8a8a94", "#c9a227")
_MARKERS = "sD^vPX"


def recall_against_latency(figures: Mapping[str, Any], recall: str) -> Figure:
  """Draws what each method finds in which time.

  Args:
    figures: Of recall_latency.py.
    recall: Key of the recall to draw.
  """
  points = figures["points"]
  # The scan has no setting to trade: a point, and the line of its recall.
  scan = next(p for p in points if p["method"].startswith("exact"))
  names = list(dict.fromkeys(p["method"] for p in points))
  names.remove(scan["method"])
  with plt.rc_context(pictures.STYLE):
    figure, axes = plt.subplots(figsize=_SIZE)
    for place, name in enumerate(names):
      color = pictures.OURS if not place else _COLORS[place - 1]
      of_method = [p for p in points if p["method"] == name]
      costs = [p["ms"] for p in of_method]
      values = [p[recall] for p in of_method]
      axes.plot(
        costs,
        values,
        "o" if not place else _MARKERS[place - 1],
        color=color,
        alpha=0.3,
        markersize=4,
      )
      front_costs, front_values = pictures.front(costs, values)
      error_of = dict(
        zip(costs, [p[f"{recall}_error"] for p in of_method], strict=True)
      )
      axes.errorbar(
        front_costs,
        front_values,
        [error_of[cost] for cost in front_costs],
        fmt="none",
        ecolor=color,
        elinewidth=0.8,
        alpha=0.6,
      )
      axes.plot(
        front_costs,
        front_values,
        "-o" if not place else "-" + _MARKERS[place - 1],
        color=color,
        markersize=5,
        linewidth=2.4 if not place else 1.6,
        label=name,
      )
    axes.axhline(scan[recall], color=pictures.EXACT, linewidth=0.8, alpha=0.5)
    axes.plot(
      scan["ms"],
      scan[recall],
      "*",
      color=pictures.EXACT,
      markersize=11,
      label=scan["method"],
    )
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds a request, one thread")
    axes.set_ylabel(_recall_name(recall))
    _plain(axes.xaxis)
    _legend_below(figure, axes)
  return figure


def _recall_name(key: str) -> str:
  _, k, targets = key.split("_")
  return f"recall@{k}, {targets} targets"


def cost_by_size(
  sizes: Mapping[str, Mapping[str, Mapping[str, float]]],
  names: Mapping[str, str],
) -> Figure:
  """Draws milliseconds of a request against the size of the corpus.

  Args:
    sizes: Size -> method -> figures, of search_scaling.py.
    names: What the methods are called; the first is ours.
  """
  with plt.rc_context(pictures.STYLE):
    figure, axes = plt.subplots(figsize=_SIZE)
    for place, (key, name) in enumerate(names.items()):
      x = [int(size) for size in sizes if key in sizes[size]]
      y = [sizes[str(size)][key]["ms"] for size in x]
      axes.plot(x, y, label=name, **_line(place))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("items")
    axes.set_ylabel("milliseconds a request")
    _plain(axes.xaxis)
    _plain(axes.yaxis)
    _legend_below(figure, axes)
  return figure


def scored_by_coverage(
  scored: Mapping[str, Mapping[str, float | None]],
) -> Figure:
  """Draws items scored against coverage.

  Args:
    scored: Policy -> coverage in % -> items, None where it is not reached; the
      first policy is ours.
  """
  with plt.rc_context(pictures.STYLE):
    figure, axes = plt.subplots(figsize=_SIZE)
    for place, (policy, of_policy) in enumerate(scored.items()):
      found = [(float(x), y) for x, y in of_policy.items() if y is not None]
      axes.plot(
        [x for x, _ in found],
        [y for _, y in found],
        label=policy,
        **_line(place),
      )
    axes.set_yscale("log")
    axes.set_xlabel("coverage, %")
    axes.set_ylabel("items scored")
    _plain(axes.yaxis)
    _legend_below(figure, axes)
  return figure


def _line(place: int) -> dict[str, Any]:
  """Returns how the line of a method is drawn; ours, the first, stands out."""
  if not place:
    style = {"color": pictures.OURS, "marker": "o", "linewidth": 2.4}
  else:
    style = {
      "color": _COLORS[place - 1],
      "marker": _MARKERS[place - 1],
      "linewidth": 1.4,
    }
  return {"linestyle": "-", "markersize": 5, **style}


def queries_against_recall(
  curves: Mapping[str, Sequence[Sequence[float]]],
  names: Mapping[str, str],
  k: int,
) -> Figure:
  """Draws queries a second against recall, with the spread of the repeats.

  Args:
    curves: Library -> [recall, median, quartiles], of search_metric.py.
    names: What the libraries are called; the first is ours.
    k: Answers that counted.
  """
  with plt.rc_context(pictures.STYLE):
    figure, axes = plt.subplots(figsize=_SIZE)
    for place, (key, name) in enumerate(names.items()):
      if key not in curves:
        continue
      points = sorted(p for p in curves[key] if p[0] >= 0.75)
      recall, median, low, high = (
        [point[i] for point in points] for i in range(4)
      )
      color = pictures.OURS if not place else _COLORS[(place - 1) % 6]
      axes.fill_between(recall, low, high, color=color, alpha=0.15, linewidth=0)
      axes.plot(
        recall,
        median,
        "-o" if not place else "-" + _MARKERS[(place - 1) % 6],
        color=color,
        linewidth=2.4 if not place else 1.4,
        markersize=4,
        label=name,
      )
    axes.set_yscale("log")
    axes.set_xlabel(f"recall@{k}")
    axes.set_ylabel("queries a second, one thread")
    _plain(axes.yaxis)
    _legend_below(figure, axes)
  return figure


def throughput_by_clients(
  of_clients: Mapping[str, Mapping[str, float]],
) -> Figure:
  """Draws requests a second in process and served.

  Args:
    of_clients: Clients -> figures, of serving_clients.py.
  """
  with plt.rc_context(pictures.STYLE):
    figure, axes = plt.subplots(figsize=_SIZE)
    places = range(len(of_clients))
    for shift, key, color, name in (
      (-0.2, "in_process_per_s", pictures.OTHER, "in process"),
      (0.2, "served_per_s", pictures.OURS, "served by gRPC"),
    ):
      axes.bar(
        [place + shift for place in places],
        [figures[key] for figures in of_clients.values()],
        0.38,
        color=color,
        label=name,
      )
    axes.set_xticks(list(places), [f"{clients}" for clients in of_clients])
    axes.set_xlabel("clients")
    axes.set_ylabel("answers a second")
    axes.grid(axis="x", visible=False)
    _plain(axes.yaxis)
    _legend_below(figure, axes)
  return figure


def _plain(*axes: Any) -> None:
  """Writes 10,000 and 0.1 in place of powers, at 1, 2 and 5 of each ten."""
  for axis in axes:
    if axis.get_scale() == "log":
      axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
      axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.7g}"))


def _legend_below(figure: Figure, axes: Any) -> None:
  handles, labels = axes.get_legend_handles_labels()
  figure.legend(
    handles,
    labels,
    loc="outside lower center",
    ncols=2,
    frameon=False,
    fontsize=9,
  )


def to_svgs(figures: Iterable[tuple[str, Figure]]) -> list[dict[str, str]]:
  """Returns captions with <svg> elements."""
  return [
    {"caption": caption, "svg": pictures.to_svg(figure)}
    for caption, figure in figures
  ]
