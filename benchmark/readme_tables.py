"""Writes the results of a kept run into README.md, so that they cannot drift.

Between two comments stands what a block of the benchmark page says of a run:

  <!-- results scaling two_cores -->
  (tables of block `scaling` of benchmark/results/two_cores.json)
  <!-- end of results -->

Blocks `steps`, `adversarial` and `ablation` are the tables of full_scale.py, of
adversarial_study.py and of ablation.py, whose runs were kept there.
--write puts the tables there; --check says whether they are there.
"""

import argparse
import json
import pathlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import ablation_table
import adversarial_table
import full_scale_table
import page_blocks
import page_parts

_ROOT = pathlib.Path(__file__).parent.parent
_RESULTS = _ROOT / "benchmark" / "results"
# Of what is no page: its figures are the table's.
_TABLES: dict[str, Callable[[Any], page_parts.Table]] = {
  "steps": full_scale_table.of_figures,
  "adversarial": lambda figures: adversarial_table.of_results(
    figures["results"]
  ),
  "ablation": lambda figures: ablation_table.of_results(figures["results"]),
}
_FILES = ("README.md", "README-cn.md", "docs/adversarial.md", "docs/quality.md")
_MARKED = re.compile(
  r"(<!-- results (\w+) (\w+) -->\n)(.*?)(<!-- end of results -->)", re.DOTALL
)


def main() -> int:
  """Runs the command. Returns 1 if --check finds a difference."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  kind = parser.add_mutually_exclusive_group(required=True)
  kind.add_argument("--check", action="store_true")
  kind.add_argument("--write", action="store_true")
  parser.add_argument(
    "files", nargs="*", default=[str(_ROOT / name) for name in _FILES]
  )
  parser.add_argument("--results", default=str(_RESULTS), help="folder of runs")
  arguments = parser.parse_args()
  is_same = True
  for name in arguments.files:
    path = pathlib.Path(name)
    text = path.read_text()
    wanted = with_results(text, pathlib.Path(arguments.results))
    if text != wanted:
      is_same = False
      print(f"{path.name} is not what benchmark/results says")
    if arguments.write:
      path.write_text(wanted)
  if arguments.check and not is_same:
    print("run python benchmark/readme_tables.py --write")
    return 1
  return 0


def with_results(text: str, results: pathlib.Path) -> str:
  """Returns a text with what its markers ask for.

  Args:
    text: Of README.md.
    results: The folder of the kept runs.

  Raises:
    FileNotFoundError: A run is not kept there.
    ValueError: A run has no such block.
  """

  def replaced(match: re.Match[str]) -> str:
    begin, block, run, _, end = match.groups()
    return f"{begin}{tables_of(results / f'{run}.json', block)}{end}"

  return _MARKED.sub(replaced, text)


def tables_of(path: pathlib.Path, block_id: str) -> str:
  """Returns the tables of a block as Markdown, with the command of the run."""
  if not path.exists():
    raise FileNotFoundError(
      f"{path} is not there; make bench BENCH='--name {path.stem} --keep'"
    )
  content = json.loads(path.read_text())
  if block_id in _TABLES:
    return _markdown(_TABLES[block_id](content["figures"]))
  figures = {
    name: section["figures"]
    for name, section in content["sections"].items()
    if "figures" in section
  }
  known = {block.id: block for block in page_blocks.blocks(figures)}
  if block_id not in known:
    raise ValueError(
      f"{path} has no block {block_id}, but {', '.join(sorted(known))}"
    )
  return "\n".join(_markdown(table) for table in known[block_id].tables)


def _markdown(table: page_parts.Table) -> str:
  head = _row(table.head)
  rule = "|" + "---|" * len(table.head) + "\n"
  return head + rule + "".join(_row(row) for row in table.rows)


def _row(cells: Sequence[str]) -> str:
  return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
  sys.exit(main())
