"""make bench: all comparisons on this machine, one page and one JSON.

Each section is a benchmark of this folder in a process of its own, and leaves a
JSON. What is there from the same command is not run again, so a run that was
cut off goes on where it was; --again runs a section anew.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import page
import sections

from nann import console, files, machine

_FOLDER = pathlib.Path(__file__).parent
_ROOT = _FOLDER.parent
_MOST_LINES = 12


def main() -> int:
  """Runs what is missing, writes the page; returns 1 if a section failed."""
  arguments = _arguments()
  folder = pathlib.Path(arguments.output) / arguments.name
  folder.mkdir(parents=True, exist_ok=True)
  found: dict[str, Any] = {}
  begin = time.monotonic()
  for section in sections.SECTIONS:
    if arguments.only and section.name not in arguments.only.split(","):
      continue
    command = _command(section, arguments)
    if command is None:
      console.warn(
        f"{section.name} is left out: give --checkins and --checkins-test-users"
      )
      continue
    again = section.name in arguments.again.split(",")
    found[section.name] = _run(section.name, command, folder, again)
  content = {
    "name": arguments.name,
    "command": " ".join(["python", "benchmark/bench.py", *sys.argv[1:]]),
    "machine": machine.describe(),
    "versions": machine.versions(),
    "seconds": sum(one.get("seconds", 0.0) for one in found.values()),
    "sections": found,
  }
  results = folder / "bench.json"
  files.save_json(results, content)
  page.write(folder / "bench.html", content)
  console.say(
    f"{time.monotonic() - begin:.0f} s; all sections took"
    f" {content['seconds']:.0f} s"
  )
  console.say(f"{results}\n{folder / 'bench.html'}")
  if arguments.keep:
    files.save_json(_FOLDER / "results" / f"{arguments.name}.json", content)
  return int(any("error" in one for one in found.values()))


def _arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__,
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
  )
  parser.add_argument("--name", default="bench", help="of the run")
  parser.add_argument("--output", default="output/bench", help="its folder")
  parser.add_argument("--quick", action="store_true", help="a tiny world")
  parser.add_argument("--only", default="", help="sections, by commas")
  parser.add_argument("--again", default="", help="sections to run anew")
  parser.add_argument("--checkins", metavar="CSV", help="a log of check-ins")
  parser.add_argument("--checkins-test-users", metavar="FILE")
  parser.add_argument(
    "--run",
    action="append",
    default=[],
    metavar="SECTION:FLAG",
    help="one more flag of a section, such as"
    " serving:--output-root=output/benchmark/synthetic_50000",
  )
  parser.add_argument(
    "--keep", action="store_true", help="keep the JSON in benchmark/results"
  )
  return parser.parse_args()


def _command(
  section: sections.Section, arguments: argparse.Namespace
) -> list[str] | None:
  flags = list(section.quick if arguments.quick else section.flags)
  if section.needs_checkins:
    if not arguments.checkins or arguments.quick:
      return None
    flags += [
      f"--dataset={arguments.checkins}",
      f"--test-users={arguments.checkins_test_users}",
    ]
  for text in arguments.run:
    name, flag = text.split(":", 1)
    if name == section.name:
      flags.append(flag)
  return ["python", f"benchmark/{section.script}", *flags]


def _run(
  name: str, command: Sequence[str], folder: pathlib.Path, again: bool
) -> dict[str, Any]:
  """Returns what a section has left, or leaves now."""
  path = folder / f"{name}.json"
  text = " ".join(command)
  if path.exists() and not again:
    kept: dict[str, Any] = json.loads(path.read_text())
    if kept["command"] == text and "error" not in kept:
      console.say(f"{name}: kept from an earlier run")
      return kept
  console.say(f"{name}: {text}")
  measured = folder / f".{name}.json"
  log = folder / f"{name}.log"
  begin = time.monotonic()
  with log.open("w") as output:
    done = subprocess.run(
      [sys.executable, *command[1:], f"--json={measured.resolve()}"],
      cwd=_ROOT,
      # The package beside these scripts, not one that is installed.
      env={**os.environ, "PYTHONPATH": str(_ROOT)},
      stdout=output,
      stderr=subprocess.STDOUT,
      check=False,
    )
  content: dict[str, Any] = {
    "command": text,
    "seconds": round(time.monotonic() - begin, 1),
  }
  if done.returncode:
    last = log.read_text().strip().splitlines()[-_MOST_LINES:]
    console.warn(f"{name} failed, see {log}:\n" + "\n".join(last))
    content["error"] = last[-1] if last else "no reason given"
  else:
    content["figures"] = json.loads(measured.read_text())["figures"]
    measured.unlink()
  files.save_json(path, content)
  return content


if __name__ == "__main__":
  sys.exit(main())
