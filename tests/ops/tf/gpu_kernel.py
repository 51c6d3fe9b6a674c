"""The kernels of our ops for GPUs, built to run on a processor.

The kernels' own code, TensorFlow's real one, and the emulator in place of CUDA;
registered for the CPU.
"""

import fcntl
import functools
import os
import pathlib
import subprocess
from collections.abc import Callable
from typing import Any

import tensorflow as tf

import setup
from nann import ops
from tests import native_programs
from tests.ops.cuda import build


def _build() -> pathlib.Path:
  sources = sorted((setup.ROOT / "ops/tf/gpu").glob("*.cc"))
  cuda_objects = build.emulated_objects("-O2")
  # All but the files that register ops: these are loaded already.
  shared = [
    name
    for name in native_programs.objects_of_ops()
    if not name.endswith("_op.o") and "ops_core_validate" not in name
  ]
  flags = [
    flag.replace("-I", "-isystem", 1)
    for flag in tf.sysconfig.get_compile_flags()
  ]
  compiler = os.environ.get("CXX", "g++")
  folder = setup.ROOT / "build" / "native" / "gpu_kernel"
  folder.mkdir(parents=True, exist_ok=True)
  with (folder / "lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    objects = []
    for source in sources:
      target = folder / (source.stem + ".o")
      command = [compiler, *flags, "-O1", "-fPIC", "-fvisibility=hidden"]
      command += ["-DNANN_EMULATED", "-Wall", "-Wextra", "-I."]
      name = str(source.relative_to(setup.ROOT))
      setup._compile_if_changed(target, [*command, "-c", name])
      objects.append(str(target))
    library = folder / "gpu_kernel.so"
    part = folder / f"gpu_kernel.{os.getpid()}"
    command = [compiler, "-shared", *objects, *shared, *cuda_objects]
    command += ["-o", str(part), *tf.sysconfig.get_link_flags()]
    subprocess.run(command, cwd=setup.ROOT, check=True)
    part.replace(library)
  return library


@functools.cache
def load() -> None:
  """Makes the kernels known. Skips the test where objects are missing."""
  ops.library()
  tf.load_library(str(_build()))


def call(arguments: dict[str, Any]) -> ops.Found:
  """Calls the op with the kernel that was made for a GPU."""
  return function_of(arguments)()


def function_of(arguments: dict[str, Any]) -> Callable[..., ops.Found]:
  """Returns a function that calls it, the same kernel every time.

  What it is given, tensors by name, stands for arguments of this name.
  """
  load()

  @tf.function(autograph=False)
  def search(**given: tf.Tensor) -> ops.Found:
    with ops.search_on_gpu():
      return ops.Found(*ops.library().nann_beam_search(**arguments | given))

  return search
