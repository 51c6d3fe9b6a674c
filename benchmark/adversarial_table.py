"""The table of benchmark/adversarial_study.py, for the terminal and docs/."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from page_parts import Table

_HEAD = (
  "data",
  "scorer",
  "loss",
  "eps",
  "recall-all",
  "novel",
  "recall-retrieval",
  "delta",
  "coverage",
  "at items scored",
)


def of_results(results: Sequence[Mapping[str, Any]]) -> Table:
  """Returns a row for each cell whose model without that loss is there too.

  Coverage is compared where as many items are scored as without the loss at the
  middle one of the study's ef; recall-retrieval and delta are at the lowest.

  Args:
    results: What the study measured of each cell.
  """
  plain = {_model(found): found for found in results if found["eps"] == 0}
  ordered = sorted(
    (found for found in results if _model(found) in plain),
    key=lambda x: (*_model(x), x["method"] != "fgsm", x["method"], x["eps"]),
  )
  return Table(_HEAD, [_row(x, plain[_model(x)]) for x in ordered], ())


def _model(found: Mapping[str, Any]) -> tuple[str, str, int]:
  return found["data"], found["scorer"], found["seed"]


def _row(found: Mapping[str, Any], plain: Mapping[str, Any]) -> list[str]:
  searches, middle = found["searches"], len(found["searches"]) // 2
  scored = plain["searches"][middle]["scored"]
  coverage = np.interp(
    scored,
    [search["scored"] for search in searches],
    [search["coverage"]["mean"] for search in searches],
  )
  error = searches[middle]["coverage"]["standard_error"]
  recall = found["recall_all"]
  return [
    found["data"],
    found["scorer"],
    found["method"].replace("_", " ") if found["eps"] else "none",
    f"{found['eps']:g}",
    _shown(recall["all_targets"]),
    _shown(recall["novel_targets"]),
    _shown(searches[0]["recall_retrieval"]),
    f"{searches[0]['delta']:.1%}",
    f"{coverage:.3f} ± {error:.3f}",
    f"{scored:,.0f}",
  ]


def _shown(share: Mapping[str, float] | None) -> str:
  if share is None:
    return "-"
  return f"{share['mean']:.3f} ± {share['standard_error']:.3f}"
