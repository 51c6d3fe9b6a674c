"""Builds and runs the C++ tests and the fuzz targets, with sanitizers.

  python -m tests.ops.native sanitize     the C++ tests, twice
  python -m tests.ops.native fuzz         every target for FUZZ_SECONDS

The sources of ops/core and ops/requests are compiled as setup.py compiles them,
but with checks in place of speed. Nothing here needs Python's or TensorFlow's
headers.
"""

import concurrent.futures
import fcntl
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence

import setup
from tests.ops.fuzz import seeds

COMPILER = os.environ.get("CXX", "g++")
BUILD = setup.ROOT / "build" / "native"
FUZZ_TARGETS = ["npy", "graph", "request"]
SANITIZERS = ["address,undefined", "thread"]

_FLAGS = [
  "-std=c++17",
  "-O1",
  "-g",
  "-fno-omit-frame-pointer",
  "-fno-sanitize-recover=all",
  "-D_GLIBCXX_ASSERTIONS",
  "-Wall",
  "-Wextra",
  "-I.",
]


def has_sanitizer(compiler: str, sanitizer: str) -> bool:
  """Returns whether programs can be linked with a sanitizer, and run."""
  if shutil.which(compiler) is None:
    return False
  with tempfile.TemporaryDirectory() as folder:
    source = pathlib.Path(folder, "empty.cc")
    text = "int main() { return 0; }\n"
    if "fuzzer" in sanitizer:
      text = (
        '#include <cstddef>\nextern "C" int LLVMFuzzerTestOneInput('
        "const unsigned char*, std::size_t) { return 0; }\n"
      )
    source.write_text(text)
    program = str(source.with_suffix(""))
    command = [compiler, f"-fsanitize={sanitizer}", str(source), "-o", program]
    if subprocess.run(command, capture_output=True, check=False).returncode:
      return False
    run = [program, "-runs=1"]
    return not subprocess.run(run, capture_output=True, check=False).returncode


def build(
  name: str,
  sources: list[str],
  sanitizer: str,
  compiler: str = COMPILER,
  libraries: Sequence[str] = (),
) -> pathlib.Path:
  """Compiles and links a program of some sources, ops/core and ops/requests."""
  folder = BUILD / f"{compiler}-{sanitizer.replace(',', '-')}"
  folder.mkdir(parents=True, exist_ok=True)
  flags = [*_FLAGS, f"-fsanitize={sanitizer}"]
  # Several tests may want the same objects at the same time.
  with (folder / "lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    jobs = []
    requests = setup.sources_of("ops/requests")
    for source in [*setup.core_sources(), *requests, *sources]:
      target = folder / (source.replace("/", "_").removesuffix(".cc") + ".o")
      special = setup._INSTRUCTION_SETS.get(pathlib.Path(source).stem, [])
      # Optimizing the tests takes longer than running them.
      level = ["-O0"] if source.startswith("tests/") else []
      command = [compiler, *flags, *level, *special, "-c", source]
      jobs.append((target, command))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
      list(pool.map(lambda job: setup._compile_if_changed(*job), jobs))
    program = folder / name
    objects = [str(target) for target, _ in jobs]
    link = [compiler, *flags, *objects, "-o", str(program), *libraries]
    link.append("-lpthread")
    subprocess.run(link, cwd=setup.ROOT, check=True)
  return program


def build_core_test(sanitizer: str) -> pathlib.Path:
  """Builds the C++ tests of ops/core and ops/requests."""
  folders = ("tests/ops/core", "tests/ops/requests")
  sources = [name for folder in folders for name in setup.sources_of(folder)]
  return build("core_test", sources, sanitizer)


def build_fuzz_target(target: str) -> pathlib.Path:
  """Builds a fuzz target with the driver of this project."""
  sources = [
    f"tests/ops/fuzz/{target}_fuzz.cc",
    "tests/ops/fuzz/standalone_driver.cc",
  ]
  return build(f"{target}_fuzz", sources, "address,undefined")


def fuzz(target: str, program: pathlib.Path, seconds: int) -> int:
  """Runs a fuzz target on its corpus and beyond. Returns its exit status."""
  corpus = BUILD / "corpus" / target
  seeds.write(target, corpus)
  command = [
    str(program),
    f"-max_total_time={seconds}",
    "-seed=1",
    "-max_len=4096",
    f"-artifact_prefix={BUILD}/",
    str(corpus),
  ]
  return subprocess.run(command, check=False).returncode


def _sanitize() -> int:
  for sanitizer in SANITIZERS:
    status = subprocess.run([str(build_core_test(sanitizer))], check=False)
    if status.returncode:
      return status.returncode
  return 0


def _fuzz_all() -> int:
  seconds = int(os.environ.get("FUZZ_SECONDS", "20"))
  libfuzzer = "fuzzer,address,undefined"
  for target in FUZZ_TARGETS:
    if has_sanitizer("clang++", libfuzzer):
      source = f"tests/ops/fuzz/{target}_fuzz.cc"
      program = build(f"{target}_fuzz", [source], libfuzzer, "clang++")
    else:
      program = build_fuzz_target(target)
    if fuzz(target, program, seconds):
      return 1
  return 0


if __name__ == "__main__":
  sys.exit({"sanitize": _sanitize, "fuzz": _fuzz_all}[sys.argv[1]]())
