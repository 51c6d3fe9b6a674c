"""Checks the search on a GPU and times it: one program for a GPU machine.

  python3 -m benchmark.cuda_check [--library FILE] [--json FILE]
  python3 -m benchmark.cuda_check --parts answers ceilings
  python3 -m benchmark.cuda_check --parts search --seconds 500

Needs Python 3.10 and NumPy, no TensorFlow. The library is built first if nvcc
is there and no library is named; elsewhere bring one (`make cuda` on another
machine; build/cuda goes along). Each part runs in a process of its own: one
that fails, or for which the time ends, loses no other's figures. A later call
adds its parts to the file of an earlier one. Ends with 1 if an answer is wrong
or a part has failed, with 2 if there is no GPU. Where compute-sanitizer is, the
C++ test runs under each of its tools.
"""

import argparse
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys
import time
from typing import Any

from benchmark import cuda_library as cuda
from benchmark import cuda_parts as parts
from benchmark import cuda_timing as timing

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / "build" / "cuda"


def arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--library", type=pathlib.Path)
  parser.add_argument(
    "--json", type=pathlib.Path, default=FOLDER / "check.json"
  )
  parser.add_argument("--items", type=int, nargs="*")
  parser.add_argument("--scored", type=int, nargs="*")
  parser.add_argument("--users", type=int, nargs="*")
  parser.add_argument("--kinds", nargs="*", default=["float16", "float32"])
  parser.add_argument("--repeats", type=int, default=10)
  parser.add_argument("--worlds", type=int, default=200)
  parser.add_argument(
    "--parts", nargs="*", help="run only those whose names begin so"
  )
  parser.add_argument(
    "--seconds", type=float, default=3600, help="for all parts together"
  )
  parser.add_argument(
    "--small", action="store_true", help="a few seconds of work, for a test"
  )
  parser.add_argument("--only", help=argparse.SUPPRESS)  # In a process of it.
  return parser.parse_args()


def build() -> pathlib.Path:
  """Builds the library for the GPU; an older one serves where that fails."""
  library = FOLDER / "libnann_cuda.so"
  nvcc = os.environ.get("NVCC") or parts.find_program("nvcc")
  if nvcc is not None:
    done = subprocess.run(
      [sys.executable, "setup.py", "--quiet", "build_cuda"],
      cwd=ROOT,
      env={**os.environ, "NVCC": nvcc},
      check=False,
    )
    if done.returncode:
      print(f"the library could not be built: status {done.returncode}")
  if not library.exists():
    raise SystemExit(
      f"{library} is not there, and could not be built: run `make cuda` where"
      " nvcc is and bring build/cuda"
    )
  return library


def run_alone(options: argparse.Namespace) -> int:
  """Runs one part in this process; it saves what it finds."""
  library = cuda.Library(options.library)
  known = _read(options.json).get("parts", {}).get(parts.CEILINGS, {})
  limits = known.get("ceilings")
  result: dict[str, Any] = {}

  def save() -> None:
    _write(_part_file(options), result)

  is_right = parts.run(
    options.only,
    library,
    options,
    None if limits is None else timing.Ceilings(**limits),
    result,
    save,
  )
  save()
  return 0 if is_right else 1


def run_part(
  name: str, options: argparse.Namespace, left_s: float
) -> dict[str, Any]:
  """Runs a part in a process of its own. Returns what is known then."""
  print(f"\n{name}", flush=True)
  _part_file(options).unlink(missing_ok=True)
  begin = time.monotonic()
  command = [sys.executable, "-m", "benchmark.cuda_check", *sys.argv[1:]]
  command += ["--only", name, "--library", str(options.library.resolve())]
  status: int | str
  process = subprocess.Popen(command, start_new_session=True)
  try:
    status = process.wait(left_s)
  except subprocess.TimeoutExpired:
    # With what it has started.
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    status = "the time is over"
  result = _read(_part_file(options))
  _part_file(options).unlink(missing_ok=True)
  seconds = time.monotonic() - begin
  if status != 0:
    print(f"{name}: NOT RIGHT, status {status}", flush=True)
  return {"status": status, "took_s": seconds, "command": command, **result}


def main() -> int:
  options = arguments()
  if options.only:
    return run_alone(options)
  end = time.monotonic() + options.seconds
  options.library = options.library or build()
  library = cuda.Library(options.library)
  if library.num_devices() == 0:
    print(f"no GPU: {library.loaded.NannCudaError().decode()}")
    return 2
  device = library.describe()
  print(
    f"{device.name.decode()}, compute capability {device.capability / 10},"
    f" {device.num_multiprocessors} multiprocessors,"
    f" {device.memory_bytes / 2**30:.1f} GiB"
  )
  same = {
    "device": device.name.decode(),
    "host": platform.processor() or platform.machine(),
  }
  found = _read(options.json)
  if any(found.get(key) != value for key, value in same.items()):
    found = {**same, "parts": {}}
  failed = []
  for name in parts.names(options):
    if options.parts and not name.startswith(tuple(options.parts)):
      continue
    left_s = end - time.monotonic()
    if left_s < 1:
      print(f"{name}: left out, the time is over")
      failed.append(name)
      continue
    found["parts"][name] = run_part(name, options, left_s)
    # Whole after each part: the time on a lent machine may end.
    _write(options.json, found)
    if found["parts"][name]["status"] != 0:
      failed.append(name)
  print(f"written to {options.json}; not right: {', '.join(failed) or 'none'}")
  return int(bool(failed))


def _part_file(options: argparse.Namespace) -> pathlib.Path:
  path: pathlib.Path = options.json
  return path.with_name(path.name + ".part")


def _read(path: pathlib.Path) -> dict[str, Any]:
  content: dict[str, Any] = (
    json.loads(path.read_text()) if path.exists() else {}
  )
  return content


def _write(path: pathlib.Path, content: dict[str, Any]) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  whole = path.with_name(path.name + ".new")
  whole.write_text(json.dumps(content, indent=1) + "\n")
  whole.replace(path)


if __name__ == "__main__":
  sys.exit(main())
