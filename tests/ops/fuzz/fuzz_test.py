"""A few seconds of every fuzz target; `make fuzz` takes longer."""

import pytest

from tests.ops import native

SECONDS = 3


@pytest.mark.parametrize("target", native.FUZZ_TARGETS)
def test_any_bytes_do_no_harm(target: str) -> None:
  sanitizer = "address,undefined"
  if not native.has_sanitizer(native.COMPILER, sanitizer):
    pytest.skip(
      f"{native.COMPILER} makes no program with -fsanitize={sanitizer}"
    )
  program = native.build_fuzz_target(target)
  assert native.fuzz(target, program, SECONDS) == 0
