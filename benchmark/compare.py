"""make bench-compare BASE=rev: is this tree faster than another revision?

A short benchmark is run for both in turns, each pair one after the other, so
that what disturbs the machine disturbs both. Printed is the ratio of a figure,
this tree over the base, with its 95 % confidence interval.
"""

import argparse
import json
import os
import pathlib
import shlex
import subprocess
import sys

import numpy as np
from scipy import stats

from nann import console

_ROOT = pathlib.Path(__file__).parent.parent


def main() -> None:
  """Runs the comparison."""
  parser = argparse.ArgumentParser(
    description=__doc__,
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
  )
  parser.add_argument("--base", required=True, help="a git revision")
  parser.add_argument(
    "--benchmark",
    default="search_metric.py --quick",
    help="a script of this folder with its flags",
  )
  parser.add_argument("--figure", default="qps_nann_at_recall_95")
  parser.add_argument("--pairs", type=int, default=7)
  arguments = parser.parse_args()
  if arguments.pairs < 2:
    parser.error(f"--pairs is {arguments.pairs}, wanted 2 or more")
  trees = {"base": _worktree(arguments.base), "this": _ROOT}
  ratios = []
  for number in range(arguments.pairs):
    # Who goes first takes turns as well.
    order = ["base", "this"] if number % 2 else ["this", "base"]
    found = {
      name: _figure(trees[name], arguments.benchmark, arguments.figure)
      for name in order
    }
    ratios.append(found["this"] / found["base"])
    console.say(
      f"pair {number + 1} of {arguments.pairs}: base {found['base']:,.4g},"
      f" this {found['this']:,.4g}, ratio {ratios[-1]:.3f}"
    )
  ratio, low, high = interval(np.array(ratios))
  console.say(
    f"{arguments.figure}: {ratio:.3f} times the base's,"
    f" 95 % of confidence {low:.3f} to {high:.3f}"
  )


def interval(ratios: np.ndarray) -> tuple[float, float, float]:
  """Returns the mean ratio (geometric) and its 95 % confidence interval.

  Args:
    ratios: [n] of pairs, n above 1.
  """
  logs = np.log(ratios)
  error = logs.std(ddof=1) / len(logs) ** 0.5
  margin = float(stats.t.ppf(0.975, len(logs) - 1) * error)
  mean = float(logs.mean())
  return (
    float(np.exp(mean)),
    float(np.exp(mean - margin)),
    float(np.exp(mean + margin)),
  )


def _worktree(revision: str) -> pathlib.Path:
  """Checks a revision out below build/, and compiles it there."""
  commit = subprocess.run(
    ["git", "rev-parse", "--verify", f"{revision}^{{commit}}"],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    check=False,
  ).stdout.strip()
  if not commit:
    sys.exit(f"--base is {revision}, which is no revision of this repository")
  folder = _ROOT / "build" / "compare" / commit[:12]
  if not folder.exists():
    console.say(f"{revision} is checked out and compiled in {folder}")
    subprocess.run(
      ["git", "worktree", "add", "--quiet", "--detach", str(folder), commit],
      cwd=_ROOT,
      check=True,
    )
    subprocess.run(
      [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
      cwd=folder,
      stdout=subprocess.DEVNULL,
      check=True,
    )
  return folder


def _figure(tree: pathlib.Path, benchmark: str, name: str) -> float:
  """Runs a benchmark in a tree and returns one of its figures."""
  script, *flags = shlex.split(benchmark)
  path = tree / "build" / "compare.json"
  path.parent.mkdir(exist_ok=True)
  done = subprocess.run(
    [sys.executable, f"benchmark/{script}", *flags, f"--json={path}"],
    cwd=tree,
    env={**os.environ, "PYTHONPATH": str(tree)},
    capture_output=True,
    text=True,
    check=False,
  )
  if done.returncode:
    sys.exit(f"{benchmark} failed in {tree}:\n{done.stderr[-2000:]}")
  figures = json.loads(path.read_text())["figures"]
  if not isinstance(figures.get(name), (int, float)):
    numbers = [k for k, v in figures.items() if isinstance(v, (int, float))]
    sys.exit(f"--figure is {name}, {script} has {', '.join(numbers)}")
  return float(figures[name])


if __name__ == "__main__":
  main()
