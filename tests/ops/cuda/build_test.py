"""What can be said of the kernels where there is no GPU: they compile, link,
and their logic holds under the emulator, with the compiler's checks too."""

import pathlib
import subprocess
import sys

import pytest

import setup
from tests.ops import native
from tests.ops.cuda import build

SANITIZER = "address,undefined"


def test_program_of_its_own_passes_under_the_emulator() -> None:
  if not native.has_sanitizer(native.COMPILER, SANITIZER):
    pytest.skip(f"the compiler has no sanitizer {SANITIZER}")
  flags = [f"-fsanitize={SANITIZER}", "-fno-sanitize-recover=all"]
  program = build.search_program(
    "emulated_search_test",
    build.emulated_objects("-O1", *flags),
    flags,
    [native.COMPILER, *flags],
  )
  done = subprocess.run(
    [str(program)],
    env={"NANN_NUM_WORLDS": "60"},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_kernels_compile_and_link(tmp_path: pathlib.Path) -> None:
  if setup.nvcc() is None:
    pytest.skip("nvcc is not there")
  objects = setup.cuda_objects(
    setup.cuda_sources(), setup.ROOT / "build/cuda/test", "90"
  )
  library = tmp_path / "libnann_cuda.so"
  subprocess.run(
    [str(setup.nvcc()), "-shared", "-o", str(library), *objects], check=True
  )
  # It loads where there is no driver, and says so.
  code = (
    "import pathlib, sys; from benchmark import cuda_library as cuda\n"
    "print(cuda.Library(pathlib.Path(sys.argv[1])).num_devices())"
  )
  done = subprocess.run(
    [sys.executable, "-c", code, str(library)],
    cwd=setup.ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert int(done.stdout) >= 0


def test_only_the_runtime_of_cuda_is_included() -> None:
  known = {
    "cuda_bf16.h",
    "cuda_fp16.h",
    "cuda_runtime.h",
    "mma.h",
    "stdint.h",
  }
  for path in sorted((setup.ROOT / "ops/cuda").iterdir()):
    for line in path.read_text().splitlines():
      if not line.startswith("#include"):
        continue
      name = line.split()[1]
      if name.startswith('"'):
        assert name.startswith(('"ops/cuda/', '"ops/core/', '"tests/ops/cuda/'))
      else:
        name = name.strip("<>")
        assert name in known or name.isidentifier(), f"{path}: {name}"
