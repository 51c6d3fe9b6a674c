"""Data preparation: rows a second and memory, start of Python included.

The bound is the engine's own time to parse the same csv into typed columns, on
the same machine in the same run. The original system converts 16,100 rows/s and
takes 2.5 GB for 2 million rows.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import duckdb
import harness
import numpy as np

from nann.data_provider import synthetic

_ROOT = pathlib.Path(__file__).parent.parent


def main() -> None:
  """Runs the benchmark."""
  parser = harness.parser(__doc__ or "")
  parser.add_argument("--rows", type=int, default=2_000_000)
  parser.add_argument("--repeats", type=int, default=5)
  arguments = parser.parse_args()
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    csv = folder / "log.csv"
    num_users = max(30, arguments.rows // 103)
    num_items = max(100, arguments.rows // 24)
    num_categories = min(9439, num_items // 5)
    log = synthetic.SyntheticLog(num_users, num_items, num_categories, 0)
    begin = time.perf_counter()
    num_rows = synthetic.write_log(log, csv)
    generate_s = time.perf_counter() - begin
    parse_s, prepare_s, peaks_kb = [], [], []
    for _ in range(arguments.repeats):
      parse_s.append(_parse(csv))
      seconds, peak_kb = _prepare(csv, folder / "data")
      prepare_s.append(seconds)
      peaks_kb.append(peak_kb)
  harness.report(
    f"prepare_data, {num_rows:,} rows",
    {
      "num_rows": num_rows,
      "rows_per_s": num_rows / float(np.median(prepare_s)),
      "seconds": float(np.median(prepare_s)),
      "seconds_spread": float(np.ptp(prepare_s)),
      "seconds_over_parse": float(np.median(prepare_s) / np.median(parse_s)),
      "peak_rss_gb": max(peaks_kb) / 2**20,
      "generate_rows_per_s": num_rows / generate_s,
    },
    arguments.json,
  )


def _parse(csv: pathlib.Path) -> float:
  begin = time.perf_counter()
  duckdb.connect().execute(
    f"CREATE TABLE log AS SELECT * FROM read_csv('{csv}', header = false)"
  )
  return time.perf_counter() - begin


def _prepare(csv: pathlib.Path, folder: pathlib.Path) -> tuple[float, int]:
  """Runs the job in a process of its own. Returns seconds and peak KiB."""
  command = [
    sys.executable,
    "main.py",
    "--job-type=prepare_data",
    f"--input={csv}",
    f"--dataset-dir={folder}",
  ]
  begin = time.perf_counter()
  process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.DEVNULL)
  _, status, usage = os.wait4(process.pid, 0)
  if status:
    sys.exit("prepare_data failed")
  return time.perf_counter() - begin, usage.ru_maxrss


if __name__ == "__main__":
  main()
