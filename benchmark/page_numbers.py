"""The few figures at the top of the benchmark page."""

from page_blocks import LIBRARIES
from page_parts import Figures
from page_recall import OURS, RERANKED, best_within


def numbers(figures: Figures) -> list[dict[str, str]]:
  """Returns the few figures at the top."""
  found = []
  if neural := figures.get("neural"):
    found.append(
      {
        "value": f"{neural['best_first_ms']:.2f} ms",
        "label": f"a request over {neural['num_items']:,} items, one thread,"
        f" {neural['best_first_coverage']:.1%} of the exact answer",
      }
    )
  recall = figures.get("recall_checkins") or figures.get("recall_synthetic")
  if recall:
    points = recall["points"]
    key = f"recall_{recall['k']}_all"
    ours = max((p for p in points if p["method"] == OURS), key=lambda p: p[key])
    theirs = best_within(points, RERANKED, ours["ms"], key)
    found.append(
      {
        "value": f"{ours[key]:.3f}"
        + (f" : {theirs[key]:.3f}" if theirs else ""),
        "label": f"recall@{recall['k']} in {ours['ms']:.2f} ms, ours and two"
        " towers re-ranked by the same network",
      }
    )
  if metric := figures.get("metric"):
    ratios = [
      (metric[key], LIBRARIES[name])
      for name in LIBRARIES
      if (key := f"qps_ratio_{name}_at_recall_95") in metric and metric[key]
    ]
    if ratios:
      ratio, library = min(ratios)
      found.append(
        {
          "value": f"{ratio:.2f}x",
          "label": f"the queries a second of {library}, the fastest of"
          f" {len(ratios)} libraries, at recall@{metric['k']} 0.95",
        }
      )
  cpp = figures.get("serving", {}).get("cpp")
  if cpp:
    found.append(
      {
        "value": f"{cpp['two_threads_per_s']:,.0f}/s",
        "label": "answers on two threads in C++, "
        f"{cpp['two_thread_scaling']:.2f}x of one",
      }
    )
  return found
