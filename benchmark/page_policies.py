"""How many items each policy scores for a coverage, on the benchmark page."""

import page_pictures
from page_parts import Block, Figures, Table

_ID = "policies"
_COVERAGES = ("90", "95", "97.5", "99")
_POLICIES = ("best_first", "paper")


def block(figures: Figures) -> Block:
  """Returns what there is to show of search_policies.py."""
  scored = {
    policy: {
      coverage: figures[f"{policy}_at_{coverage}"] for coverage in _COVERAGES
    }
    for policy in _POLICIES
  }
  rows = [
    [f"NANN, {policy}", *(_number(at) for at in of_policy.values())]
    for policy, of_policy in scored.items()
  ]
  ours, paper = scored["best_first"], scored["paper"]
  losses = [
    f"coverage {coverage} %: policy paper scores {paper[coverage]:,.0f} items,"
    f" best_first {_number(ours[coverage])}"
    for coverage in _COVERAGES
    if paper[coverage] is not None
    and (ours[coverage] is None or ours[coverage] >= paper[coverage])
  ]
  return Block(
    _ID,
    "What a coverage costs in items scored",
    f"{figures['num_items']:,} items. Both policies climb ladders of settings;"
    " what a coverage of the exact answer costs on the mean of test users is"
    " interpolated between the rungs, and the cheapest ladder counts.",
    page_pictures.to_svgs(
      [
        (
          "Items scored for a coverage; the vertical axis is logarithmic",
          page_pictures.scored_by_coverage(scored),
        )
      ]
    ),
    [
      Table(
        ["items scored for", *(f"{coverage} %" for coverage in _COVERAGES)],
        rows,
      )
    ],
    losses,
  )


def _number(number: float | None) -> str:
  return "-" if number is None else f"{number:,.0f}"
