"""The table of benchmark/ablation.py, for the terminal and docs/."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from page_parts import Table

from nann.retrieval import metrics

NONE = "none"
_HEAD = (
  "data",
  "change",
  "equal",
  "steps",
  "recall@200",
  "difference",
  "novel",
  "difference",
)


def of_results(results: Sequence[Mapping[str, Any]]) -> Table:
  """Returns a row for each change whose data set has a row without changes.

  A target's hits are averaged over the seeds; errors are those of targets.

  Args:
    results: What the study measured of each cell.
  """
  of_row: dict[tuple[str, bool, str], list[Mapping[str, Any]]] = {}
  for found in results:
    row = (found["data"], found["is_timed"], found["change"])
    of_row.setdefault(row, []).append(found)
  rows = []
  for (data, is_timed, change), cells in sorted(
    of_row.items(), key=lambda item: item[0][:2]
  ):
    plain = of_row.get((data, is_timed, NONE))
    if plain is not None:
      kind = "time" if is_timed else "steps"
      rows.append([data, change, kind, *_cells(change, cells, plain)])
  return Table(_HEAD, rows, ())


def to_digits(values: np.ndarray) -> str:
  """Returns a digit, 0 or 1, for each value [n] bool: a line in a file."""
  return "".join(str(int(value)) for value in values)


def _from_digits(digits: str) -> np.ndarray:
  return np.array(list(digits)) == "1"


def _cells(
  change: str,
  cells: Sequence[Mapping[str, Any]],
  plain: Sequence[Mapping[str, Any]],
) -> list[str]:
  novel = _from_digits(cells[0]["novel"])
  hits, before = _hits(cells), _hits(plain)
  texts = [f"{np.mean([cell['steps'] for cell in cells]):,.0f}"]
  for part in (np.ones_like(novel), novel):
    share = metrics.share(hits[part])
    difference = metrics.share((hits - before)[part])
    texts += [
      _shown(share, ""),
      "" if change == NONE else _shown(difference, "+"),
    ]
  return texts


def _hits(cells: Sequence[Mapping[str, Any]]) -> np.ndarray:
  """Returns [n]: how often each target was found, 0 to 1."""
  hits: np.ndarray = np.mean(
    [_from_digits(cell["hits"]) for cell in cells], axis=0
  )
  return hits


def _shown(share: metrics.Share, sign: str) -> str:
  if not share.count:
    return "-"
  return f"{share.mean:{sign}.3f} ± {share.standard_error:.3f}"
