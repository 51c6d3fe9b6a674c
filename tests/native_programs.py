"""Builds C++ programs that run TensorFlow's runtime out of the Python wheel."""

import fcntl
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

import pytest
import tensorflow as tf

import setup

_BUILD = setup.ROOT / "build" / "programs"


def objects_of_ops() -> list[str]:
  """Returns the compiled sources of the op library, to be linked statically.

  Skips the test where setup.py has left none.
  """
  sources = setup.extension("nann._nann_ops", "ops/tf").sources
  # Without the kernel for GPUs, which wants CUDA's runtime.
  sources = [name for name in sources if not name.startswith("ops/tf/gpu/")]
  names = [s.replace("/", "_").removesuffix(".cc") + ".o" for s in sources]
  for folder in sorted((setup.ROOT / "build").glob("temp.*")):
    if all((folder / name).exists() for name in names):
      return [str(folder / name) for name in names]
  pytest.skip("build/ has no objects; python setup.py build_ext --inplace")


def cmake_target(name: str) -> pathlib.Path:
  """Builds a target of benchmark/ as `make benchmark` does.

  Skips the test where there is no CMake, or where the target is left out for
  want of a library.
  """
  beside_python = pathlib.Path(sys.executable).parent / "cmake"
  cmake = (
    str(beside_python) if beside_python.exists() else shutil.which("cmake")
  )
  if cmake is None:
    pytest.skip("no cmake to build the load generator with")
  folder = setup.ROOT / "benchmark" / "build"
  folder.mkdir(exist_ok=True)
  with (folder / ".lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    source = ("-S", str(folder.parent), "-B", str(folder))
    _run(cmake, *source, f"-DPython3_EXECUTABLE={sys.executable}")
    if f"... {name}\n" not in _run(
      cmake, "--build", str(folder), "--target", "help"
    ):
      pytest.skip(f"{name} is left out here; CMake says why")
    _run(cmake, "--build", str(folder), "--target", name, "--parallel", "2")
  return folder / name


def _run(*command: str) -> str:
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout


def program(
  name: str, sources: Sequence[str], linked: Sequence[str] = ()
) -> pathlib.Path:
  """Compiles what has changed, and links. Skips the test where it cannot.

  Args:
    name: Of the program.
    sources: From the root of the repository.
    linked: Objects to link beside them.
  """
  folder = pathlib.Path(tf.sysconfig.get_lib())
  if not (folder / "libtensorflow_cc.so.2").exists():
    pytest.skip("this build of TensorFlow has no libtensorflow_cc.so.2")
  flags = [
    flag.replace("-I", "-isystem", 1)
    for flag in tf.sysconfig.get_compile_flags()
  ]
  # The runtime registers itself: the linker must not leave it out.
  libraries = [
    f"-L{folder}",
    f"-Wl,-rpath,{folder}",
    "-Wl,--no-as-needed",
    "-l:libtensorflow_cc.so.2",
    "-l:libtensorflow_framework.so.2",
  ]
  compiler = os.environ.get("CXX", "g++")
  _BUILD.mkdir(parents=True, exist_ok=True)
  # Several tests may want the same objects at the same time.
  with (_BUILD / "lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    objects = list(linked)
    for source in sources:
      target = _BUILD / (source.replace("/", "_").removesuffix(".cc") + ".o")
      command = [compiler, *flags, "-O1", "-Wall", "-Wextra", "-Werror", "-I."]
      setup._compile_if_changed(target, [*command, "-c", source])
      objects.append(str(target))
    made = _BUILD / name
    newest = max(pathlib.Path(path).stat().st_mtime for path in objects)
    if not made.exists() or made.stat().st_mtime < newest:
      command = [compiler, *objects, "-o", str(made), *libraries]
      subprocess.run(command, cwd=setup.ROOT, check=True)
  return made
