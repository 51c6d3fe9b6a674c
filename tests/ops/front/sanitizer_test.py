"""The C++ test of ops/front, under the sanitizers of the compiler.

Not under the one for threads: it knows nothing of the locks within the gRPC
library, which is not compiled with it.
"""

import os
import subprocess

import pytest

import setup
from tests.ops import native

SANITIZER = "address,undefined"


@pytest.mark.slow
def test_front_is_clean() -> None:
  libraries = setup._pkg_config("--libs")
  if not libraries:
    pytest.skip("gRPC's C++ library (libgrpc++-dev) is not installed")
  if not native.has_sanitizer(native.COMPILER, SANITIZER):
    pytest.skip(f"{native.COMPILER} has no {SANITIZER}")
  sources = [
    "ops/front/forwarding.cc",
    "ops/front/front.cc",
    "ops/front/server_call.cc",
    "tests/ops/core/testing.cc",
    "tests/ops/front/front_test.cc",
  ]
  program = native.build("front_test", sources, SANITIZER, libraries=libraries)
  done = subprocess.run(
    [str(program)],
    # The counting operator new of the tests is none of the library's.
    env={**os.environ, "ASAN_OPTIONS": "alloc_dealloc_mismatch=0"},
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
  )
  assert done.returncode == 0, done.stdout + done.stderr
