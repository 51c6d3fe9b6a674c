"""The C++ tests of ops/core, under the sanitizers of the compiler."""

import subprocess

import pytest

from tests.ops import native


@pytest.mark.parametrize("sanitizer", native.SANITIZERS)
def test_core_is_clean(sanitizer: str) -> None:
  if not native.has_sanitizer(native.COMPILER, sanitizer):
    pytest.skip(
      f"{native.COMPILER} makes no program with -fsanitize={sanitizer}"
    )
  program = native.build_core_test(sanitizer)
  done = subprocess.run(
    [str(program)], capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stdout + done.stderr
