"""The load generator's own parts in C++: histogram, schedule, threads."""

import subprocess

import pytest

from tests.native_programs import cmake_target, program

PARTS = {
  "histogram": [],
  "schedule": ["benchmark/schedule.cc"],
  "load": ["benchmark/load.cc", "benchmark/schedule.cc"],
}


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_part_of_the_load_generator(part: str) -> None:
  sources = [
    f"tests/benchmark/{part}_test.cc",
    "tests/ops/core/testing.cc",
    *PARTS[part],
  ]
  done = subprocess.run(
    [program(f"{part}_test", sources)],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_micro_benchmarks_of_the_core_run() -> None:
  done = subprocess.run(
    [cmake_target("core_benchmarks"), "--benchmark_min_time=0.001"],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  for part in ("VisitedSet", "Beam", "StepsOfSearch", "GatherRows", "ScoreL2"):
    assert part in done.stdout
