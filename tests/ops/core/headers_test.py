"""What ops/core may include, and that each of its headers stands alone."""

import pathlib
import re
import subprocess

import pytest

import setup
from tests.ops import native

CORE = setup.ROOT / "ops" / "core"
# Included several times on purpose, each time with other settings.
IS_NO_HEADER = "_impl.h"
# Come with the compiler: vector instructions, and which of them there are.
OF_COMPILER = {"immintrin.h", "cpuid.h"}


def names(pattern: str) -> list[str]:
  found = sorted(CORE.rglob(pattern))
  return [str(path.relative_to(setup.ROOT)) for path in found]


@pytest.mark.parametrize("name", names("*.h") + names("*.cc"))
def test_core_includes_only_itself_and_the_standard_library(name: str) -> None:
  text = (setup.ROOT / name).read_text()
  for quoted, angled in re.findall(
    r'^\s*#\s*include\s*(?:"(.*)"|<(.*)>)', text, flags=re.MULTILINE
  ):
    if quoted:
      assert quoted.startswith("ops/core/"), quoted
      assert (setup.ROOT / quoted).is_file(), quoted
    else:
      is_standard = re.fullmatch(r"[a-z_]+", angled)
      assert is_standard or angled in OF_COMPILER, angled


def test_headers_compile_alone(tmp_path: pathlib.Path) -> None:
  # One source for each, compiled by one call: starting a compiler takes longer.
  sources = []
  for name in names("*.h"):
    if name.endswith(IS_NO_HEADER):
      continue
    source = tmp_path / (name.replace("/", "_") + ".cc")
    # Twice: its guard works.
    source.write_text(f'#include "{name}"\n#include "{name}"\n')
    sources.append(str(source))
  assert len(sources) > 5
  command = [native.COMPILER, "-std=c++17", "-Wall", "-Wextra", "-I."]
  done = subprocess.run(
    [*command, "-fsyntax-only", *sources],
    cwd=setup.ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert (done.returncode, done.stderr) == (0, "")
