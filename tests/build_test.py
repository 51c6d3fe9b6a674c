"""BUILD says the same as setup.py: the same sources, with the same flags.

There is one truth about how the ops are compiled, setup.py; Bazel's file is
held to it here. Starlark is close enough to Python to be run as such.
"""

import pathlib
from typing import Any

import pytest

import setup
from tests.conftest import ROOT

Rules = dict[str, dict[str, Any]]

# Flags that say nothing about the code: Bazel, or the warnings of a compiler.
OF_SETUP_ONLY = {"-std=c++17", "-DNDEBUG", "-fPIC", "-Wall", "-Wextra", "-I."}


def rules(package: str, is_x86: bool = True) -> Rules:
  """Runs BUILD as the BUILD file of a package; returns its rules by name."""
  found: Rules = {}
  condition = "@platforms//cpu:x86_64" if is_x86 else "//conditions:default"

  def ignore(*arguments: Any, **named: Any) -> None:
    del arguments, named

  def cc_library(name: str, **attributes: Any) -> None:
    assert name not in found
    found[name] = attributes

  def glob(patterns: list[str]) -> list[str]:
    return [
      str(path.relative_to(ROOT))
      for pattern in patterns
      for path in sorted(ROOT.glob(pattern))
    ]

  names = {
    "load": ignore,
    "glob": glob,
    "package": ignore,
    "licenses": ignore,
    "package_name": lambda: package,
    "select": lambda branches: branches[condition],
    "cc_library": cc_library,
  }
  exec((ROOT / "BUILD").read_text(), names)
  return found


def reachable(found: Rules, name: str) -> set[str]:
  """Returns a rule and those of BUILD that it depends on."""
  names = {name}
  for dependency in found[name].get("deps", []):
    if dependency.startswith(":"):
      names |= reachable(found, dependency[1:])
  return names


def sources(found: Rules, name: str) -> list[str]:
  """Returns what is compiled for a rule."""
  return sorted(
    source
    for rule in reachable(found, name)
    for source in found[rule].get("srcs", [])
    if source.endswith(".cc")
  )


def test_the_same_sources_are_compiled() -> None:
  wanted = setup.extension("nann._nann_ops", "ops/tf").sources
  # The kernel for GPUs is built by setup.py alone: ModelServer runs on CPUs.
  wanted = [name for name in wanted if not name.startswith("ops/tf/gpu/")]
  assert sources(rules(""), "nann_ops") == sorted(wanted)


def test_other_processors_go_without_the_kernels_of_x86() -> None:
  compiled = sources(rules("", is_x86=False), "nann_ops")
  assert "ops/core/kernels/kernels_baseline.cc" in compiled
  assert not [name for name in compiled if "kernels_avx" in name]


def test_every_header_is_declared() -> None:
  found = rules("")
  declared = {
    header
    for rule in found.values()
    for header in [*rule.get("hdrs", []), *rule.get("srcs", [])]
    if header.endswith(".h")
  }
  there = {
    str(path.relative_to(ROOT))
    for folder in ("ops/core", "ops/tf")
    for path in (ROOT / folder).rglob("*.h")
    if path.parent.name != "gpu"
  }
  assert declared == there


def test_each_source_has_the_flags_of_setup() -> None:
  found = rules("")
  for name in reachable(found, "nann_ops"):
    rule = found[name]
    for source in rule.get("srcs", []):
      stem = pathlib.Path(source).stem
      special = setup._INSTRUCTION_SETS.get(stem, [])
      wanted = {*setup._FLAGS, *special} - OF_SETUP_ONLY
      wanted = {flag for flag in wanted if not flag.startswith("-Wno-")}
      assert set(rule["copts"]) - {"-I."} == wanted, source
      assert rule["local_defines"] == ["NDEBUG"]


def test_ops_register_themselves_where_they_are_linked() -> None:
  assert rules("")["nann_ops"]["alwayslink"] == 1


@pytest.mark.parametrize(
  ("package", "include"),
  [("", "-I."), ("custom_ops/nann", "-Icustom_ops/nann")],
)
def test_includes_are_found_wherever_the_folder_lies(
  package: str, include: str
) -> None:
  found = rules(package)
  for rule in found.values():
    assert "hdrs" in rule or include in rule["copts"]
