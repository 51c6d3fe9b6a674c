"""Builds the library of the GPU for the emulator, and finds the real one."""

import concurrent.futures
import fcntl
import os
import pathlib
import subprocess

import setup

ROOT = pathlib.Path(__file__).parents[3]
_EMULATOR = [
  "tests/ops/cuda/emulator.cc",
  "tests/ops/cuda/emulated_runtime.cc",
]
_FLAGS = [
  "-std=c++17",
  "-g",
  "-fPIC",
  "-fvisibility=hidden",
  "-DNANN_EMULATED",
  "-Wall",
  "-Wextra",
  "-Wno-unknown-pragmas",
  "-I.",
]


def sources() -> list[str]:
  """Returns what the library is made of, kernels and host code."""
  return [*setup.cuda_sources(), "benchmark/cuda_ceilings.cu.cc"]


def emulated_objects(*flags: str) -> list[str]:
  """Compiles the library for the emulator."""
  folder = ROOT / "build" / "native" / "-".join(["emulated", *flags])
  folder.mkdir(parents=True, exist_ok=True)
  compiler = os.environ.get("CXX", "g++")
  jobs = []
  for source in [*sources(), *_EMULATOR]:
    target = folder / (source.replace("/", "_").removesuffix(".cc") + ".o")
    jobs.append((target, [compiler, *_FLAGS, *flags, "-c", source]))
  # Several tests may want the same objects at the same time.
  with (folder / "lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
      list(pool.map(lambda job: setup._compile_if_changed(*job), jobs))
  return [str(target) for target, _ in jobs]


def emulated_library() -> pathlib.Path:
  """Returns the path of the library for the emulator, built if need be."""
  objects = emulated_objects("-O2")
  library = pathlib.Path(objects[0]).parent / "libnann_cuda.so"
  newest = max(pathlib.Path(name).stat().st_mtime for name in objects)
  if not library.exists() or library.stat().st_mtime < newest:
    compiler = os.environ.get("CXX", "g++")
    # A name of its own until it is whole.
    part = library.with_suffix(f".{os.getpid()}")
    subprocess.run(
      [compiler, "-shared", "-Wl,-z,defs", *objects, "-o", str(part)],
      check=True,
    )
    part.replace(library)
  return library


def device_library() -> pathlib.Path | None:
  """Returns the path of the library for GPUs, if there is one."""
  path = pathlib.Path(
    os.environ.get("NANN_CUDA_LIBRARY", ROOT / "build/cuda/libnann_cuda.so")
  )
  return path if path.exists() else None


def search_program(
  name: str, objects: list[str], flags: list[str], linker: list[str]
) -> pathlib.Path:
  """Links tests/ops/cuda/search_test.cc with the library's objects.

  Args:
    name: Of the program.
    objects: Of the library.
    flags: To compile the test with.
    linker: The command that links, with what it needs.
  """
  folder = ROOT / "build" / "native" / name
  folder.mkdir(parents=True, exist_ok=True)
  compiler = os.environ.get("CXX", "g++")
  made = []
  for source in [
    "tests/ops/cuda/search_test.cc",
    "tests/ops/core/oracle.cc",
    "tests/ops/core/testing.cc",
  ]:
    target = folder / (source.replace("/", "_").removesuffix(".cc") + ".o")
    command = [compiler, "-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-I."]
    setup._compile_if_changed(target, [*command, *flags, "-c", source])
    made.append(str(target))
  program = folder / name
  command = [*linker, *made, *objects, "-o", str(program)]
  subprocess.run(command, cwd=ROOT, check=True)
  return program
