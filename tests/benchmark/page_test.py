"""The page of `make bench`, made in a tiny world, and what it must not hide."""

import json
import pathlib
import subprocess

import compare
import numpy as np
import page_policies
import page_recall
import pytest
import readme_tables

from tests import browser
from tests.conftest import ROOT, run_python


def run_benchmark(*arguments: str) -> subprocess.CompletedProcess:
  """Runs a benchmark with the package that lies beside it."""
  return run_python(*arguments, PYTHONPATH=str(ROOT))


def point(method: str, ms: float, recall: float) -> dict:
  return {
    "method": method,
    "setting": "",
    "ms": ms,
    "coverage": 1.0,
    "num_scored": None,
    "recall_50_all": recall,
    "recall_50_all_error": 0.01,
  }


def recall_figures(theirs: float) -> dict:
  """Ours finds 0.5 in 1 ms and 0.6 in 3; the others `theirs` in 1.5 ms."""
  return {
    "k": 50,
    "num_items": 1000,
    "num_users": 10,
    "points": [
      point(page_recall.OURS, 1.0, 0.5),
      point(page_recall.OURS, 3.0, 0.6),
      point("exact scan by the network", 9.0, 0.6),
      point(page_recall.RERANKED, 1.5, theirs),
    ],
  }


def test_who_is_ahead_of_us_is_named() -> None:
  losses = page_recall.recall_losses(
    recall_figures(0.55)["points"], ["recall_50_all"], [1.0, 2.0, 4.0, 16.0]
  )
  assert losses == [
    "exact scan by the network finds as much within 16 ms:"
    " recall@50 of all targets 0.600, ours 0.600",
    "two-tower, re-ranked by the network finds more within 2 ms:"
    " recall@50 of all targets 0.550, ours 0.500",
  ]


def test_who_is_slower_or_finds_less_is_not_named() -> None:
  assert not page_recall.recall_losses(
    recall_figures(0.49)["points"], ["recall_50_all"], [1.0, 2.0, 4.0]
  )


def test_page_says_how_long_was_trained() -> None:
  figures = recall_figures(0.4)
  assert "Trained" not in page_recall.block("a", "A", figures).text
  seconds = {"nann_plus": 99.6, "two_tower": 101.2}
  text = page_recall.block("a", "A", figures | {"training_s": seconds}).text
  assert "nann_plus for 100 s and two_tower for 101 s. User's side" in text


def test_policies_are_shown_with_what_is_not_reached() -> None:
  scored = {
    "best_first": [300.0, 500.0, 1200.0, None],
    "paper": [900.0, 1000.0, 1100.0, 4000.0],
  }
  figures = {"num_items": 1000} | {
    f"{policy}_at_{coverage}": number
    for policy, numbers in scored.items()
    for coverage, number in zip(
      ("90", "95", "97.5", "99"), numbers, strict=True
    )
  }
  block = page_policies.block(figures)
  assert block.tables[0].rows == [
    ["NANN, best_first", "300", "500", "1,200", "-"],
    ["NANN, paper", "900", "1,000", "1,100", "4,000"],
  ]
  assert block.not_ahead == [
    "coverage 97.5 %: policy paper scores 1,100 items, best_first 1,200",
    "coverage 99 %: policy paper scores 4,000 items, best_first -",
  ]
  assert block.pictures[0]["svg"].startswith("<svg")


def kept(folder: pathlib.Path) -> pathlib.Path:
  """Keeps a run of one section."""
  content = {"sections": {"recall_synthetic": {"figures": recall_figures(0.4)}}}
  (folder / "mine.json").write_text(json.dumps(content))
  return folder


README = """# Title
<!-- results recall_synthetic mine -->
what was here before
<!-- end of results -->
the rest
"""


def readme_command(
  readme: pathlib.Path, results: pathlib.Path, flag: str
) -> tuple[int, str]:
  done = run_benchmark(
    "benchmark/readme_tables.py", flag, str(readme), f"--results={results}"
  )
  return done.returncode, done.stdout + done.stderr


def test_readme_is_written_from_a_kept_run(tmp_path: pathlib.Path) -> None:
  readme = tmp_path / "README.md"
  readme.write_text(README)
  results = kept(tmp_path)
  status, text = readme_command(readme, results, "--check")
  assert status == 1
  assert "README.md is not what benchmark/results says" in text
  assert readme_command(readme, results, "--write")[0] == 0
  assert readme_command(readme, results, "--check") == (0, "")
  text = readme.read_text()
  assert text.startswith("# Title\n")
  assert text.endswith("the rest\n")
  assert "what was here before" not in text
  assert "| NANN | 0.500 ± 0.010 | 0.500 ± 0.010 | 0.600 ± 0.010 |" in text


def test_table_of_the_full_scale_is_written_too(
  tmp_path: pathlib.Path,
) -> None:
  figures = {
    "number": 2_000_000,
    "seconds": 4.0,
    "number_per_s": 5e5,
    "peak_rss_gb": 1.5,
    "processor_s": 7.0,
    "records_gb": 0.25,
  }
  content = {f"prepare_data: {name}": x for name, x in figures.items()}
  (tmp_path / "big.json").write_text(json.dumps({"figures": content}))
  marker = "results steps big"
  text = readme_tables.with_results(
    README.replace("results recall_synthetic mine", marker), tmp_path
  )
  row = "| prepare_data | 2,000,000 | 4.0 | 500,000 | 1.50 | records gb 0.25 |"
  assert row in text


@pytest.mark.parametrize(
  ("marker", "message"),
  [
    ("results recall_synthetic yours", "yours.json is not there"),
    ("results serving mine", "has no block serving, but recall_synthetic"),
  ],
)
def test_marker_of_nothing_is_refused(
  tmp_path: pathlib.Path, marker: str, message: str
) -> None:
  text = README.replace("results recall_synthetic mine", marker)
  with pytest.raises((FileNotFoundError, ValueError), match=message):
    readme_tables.with_results(text, kept(tmp_path))


def test_results_in_the_readme_are_those_of_the_kept_runs() -> None:
  done = run_benchmark("benchmark/readme_tables.py", "--check")
  assert done.returncode == 0, done.stdout


def test_interval_of_a_ratio_holds_the_truth_as_often_as_it_says() -> None:
  rng = np.random.default_rng(0)
  inside = 0
  for _ in range(400):
    ratios = 1.2 * np.exp(0.1 * rng.normal(size=6))
    ratio, low, high = compare.interval(ratios)
    assert low < ratio < high
    inside += low < 1.2 < high
  assert 0.92 < inside / 400 < 0.98


@pytest.mark.slow
def test_bench_ends_with_a_page_and_goes_on_where_it_was(
  tmp_path: pathlib.Path,
) -> None:
  command = (
    "benchmark/bench.py",
    "--quick",
    "--name=tiny",
    f"--output={tmp_path}",
    "--only=recall_synthetic,metric,data",
  )
  done = run_benchmark(*command)
  assert done.returncode == 0, done.stdout + done.stderr
  content = json.loads((tmp_path / "tiny" / "bench.json").read_text())
  assert list(content["sections"]) == ["data", "recall_synthetic", "metric"]
  page = tmp_path / "tiny" / "bench.html"
  text = page.read_text()
  assert "<script" not in text
  assert "http://" not in text.replace("http://www.w3.org/", "")
  # At once, and without measuring anything.
  done = run_benchmark(*command)
  assert done.stdout.count("kept from an earlier run") == 3
  again = json.loads((tmp_path / "tiny" / "bench.json").read_text())
  assert again["sections"] == content["sections"]
  shown = browser.dom_of(page, tmp_path / "browser")
  for section in ("not-ahead", "recall_synthetic", "metric", "work"):
    assert f'<section id="{section}">' in shown
  assert shown.count("<svg") >= 3
  assert "python benchmark/recall_latency.py --items=2000" in shown


@pytest.mark.slow
def test_failed_section_is_on_the_page_and_in_the_status(
  tmp_path: pathlib.Path,
) -> None:
  done = run_benchmark(
    "benchmark/bench.py",
    "--quick",
    "--only=training",
    "--run=training:--no-such-flag",
    f"--output={tmp_path}",
  )
  assert done.returncode == 1
  page = (tmp_path / "bench" / "bench.html").read_text()
  assert "failed: train_throughput.py: error: unrecognized arguments" in page
