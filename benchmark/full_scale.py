"""The whole path at the size of Taobao's UserBehavior, or at a share of it.

Every step is a job in a process of its own, with time, rows a second and peak
memory. A step whose outputs are there is skipped, with the figures it had; to
do it again, remove its file in FOLDER/figures. What follows a step that was
done is done again too.
"""

import argparse
import pathlib
import shutil
import sys
from typing import Any

import full_scale_steps
import full_scale_table
import harness
import job_process

from nann import console, files

_GIB = 2**30


def main() -> None:
  """Runs the benchmark."""
  arguments = _parse()
  scale = full_scale_steps.Scale(
    arguments.rows,
    pathlib.Path(arguments.folder or f"output/full_scale_{arguments.rows}"),
    arguments.train_steps,
    arguments.users,
    arguments.exact_users,
  )
  scale.folder.mkdir(parents=True, exist_ok=True)
  rows: list[tuple[full_scale_steps.Step, dict[str, Any]]] = []
  is_stale = False
  for step in full_scale_steps.steps(scale):
    if arguments.stop_before == step.name:
      break
    kept = _kept(scale, step)
    if kept is None or is_stale:
      is_stale = True
      kept = _run(scale, step)
    rows.append((step, kept))
    console.say(f"{step.name}: {_sentence(kept)}")
  figures = {
    f"{step.name}: {name}": value
    for step, of_step in rows
    for name, value in of_step.items()
  }
  table = full_scale_table.of_figures(figures)
  console.table("every step in a process of its own", table.head, table.rows)
  harness.report(f"full scale, {scale.rows:,} rows", figures, arguments.json)


def _parse() -> argparse.Namespace:
  parser = harness.parser(__doc__ or "")
  parser.add_argument("--rows", type=int, default=full_scale_steps.ROWS // 100)
  parser.add_argument("--folder", help="output/full_scale_ROWS if not given")
  parser.add_argument("--train-steps", type=int, default=200)
  parser.add_argument("--users", type=int, default=10_000)
  parser.add_argument("--exact-users", type=int, default=300)
  parser.add_argument("--stop-before", metavar="STEP", help="and leave it out")
  return parser.parse_args()


def _figures_file(
  scale: full_scale_steps.Scale, step: full_scale_steps.Step
) -> pathlib.Path:
  name = step.name.replace(", ", "_").replace(" ", "_")
  return scale.folder / "figures" / f"{name}.json"


def _kept(
  scale: full_scale_steps.Scale, step: full_scale_steps.Step
) -> dict[str, Any] | None:
  """Returns the figures of a step that is done; None: it is to be done."""
  path = _figures_file(scale, step)
  if not (path.exists() and step.made.exists()):
    return None
  content = files.load_json(path, "full_scale")
  if content["command"] != step.command:
    return None
  return dict(content["figures"])


def _run(
  scale: full_scale_steps.Scale, step: full_scale_steps.Step
) -> dict[str, Any]:
  console.say(f"{step.name} begins")
  path = _figures_file(scale, step)
  path.unlink(missing_ok=True)
  if step.clears is not None:
    shutil.rmtree(step.clears, ignore_errors=True)
  try:
    finished = job_process.run(step.command)
  except ValueError as error:
    sys.exit(str(error))
  number = step.number(finished)
  figures = {
    "number": number,
    "seconds": finished.seconds,
    "number_per_s": number / finished.seconds,
    "peak_rss_gb": finished.peak_bytes / _GIB,
    "processor_s": finished.processor_s,
    **step.extras(finished),
  }
  files.save_json(path, {"command": step.command, "figures": figures})
  log = [f"{line.seconds:9.2f} {line.text}\n" for line in finished.lines]
  path.with_suffix(".log").write_text("".join(log))
  return figures


def _sentence(figures: dict[str, Any]) -> str:
  return (
    f"{figures['seconds']:,.1f} s, {figures['number_per_s']:,.0f} a second,"
    f" {figures['peak_rss_gb']:.2f} GB"
  )


if __name__ == "__main__":
  main()
