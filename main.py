"""Runs one job of NANN: from a behavior log to measured recall.

The flags are made from the fields of `nann.config`, become one frozen `Config`,
and the job takes it from there.
"""

import importlib
import sys
import typing

from absl import flags

from nann import command_line, config

JOBS = {
  "prepare_data": "behavior csv (or synthetic behavior) -> records",
  "train": "records -> model/",
  "extract_feature": "model -> embeddings/",
  "build_index": "embeddings -> index/",
  "tune": "cheapest search of a coverage -> search/settings.json",
  "test": "recall of the graph search -> metrics/test.json",
  "test_all": "recall of exact scoring -> metrics/test_all.json",
  "export": "model, index and search settings -> export/, proven and published",
  "serve": "export/ -> answers over gRPC and REST",
  "generate_log": "synthetic behavior -> a csv as large as you like",
  "demo": "all of the above on synthetic data -> report.html",
}

_SUMMARY = """\
NANN finds the items a user will like among millions, where "like" is said by
a neural network: a beam search walks a graph of the items and asks the
network only about those it meets."""

_EXAMPLES = """\
  python main.py --job-type demo
      The whole path on synthetic data; ends with a page to look at.

  python main.py --job-type prepare_data --input UserBehavior.csv \\
      --dataset-dir data --time-window 1511539200,1512316800
  python main.py --job-type train --dataset-dir data --output-root output
  python main.py --job-type extract_feature --output-root output
  python main.py --job-type build_index --output-root output
  python main.py --job-type tune --output-root output --target-coverage 0.975
  python main.py --job-type test --output-root output --topk-eval 50,200
      The same path, step by step, on your own log."""

_GROUP_TITLES = {
  "paths": "FOLDERS",
  "data": "DATA",
  "scorer": "SCORER",
  "train": "TRAINING",
  "index": "INDEX",
  "search": "SEARCH",
  "evaluation": "EVALUATION",
  "export": "EXPORT",
  "serve": "SERVING",
  "run": "RUN",
}

_JOB_FLAG = "job-type"


def define_flags() -> None:
  """Defines --job-type and a flag for every field of the settings."""
  flags.DEFINE_enum(_JOB_FLAG, None, list(JOBS), "The job to run.")
  for settings in config.setting_groups().values():
    command_line.define_settings(settings)


def config_from_flags() -> config.Config:
  """Reads every flag into a validated `Config`. Raises ValueError."""
  values: dict[str, typing.Any] = {}
  for settings in config.setting_groups().values():
    values |= command_line.read_settings(settings)
  defaults = dict(config.SCORER_DEFAULTS.get(values["scorer"], {}))
  if command_line.flag_value(_JOB_FLAG) == "demo":
    defaults |= config.DEMO_DEFAULTS
  values |= {
    field: value
    for field, value in defaults.items()
    if not command_line.is_given(field)
  }
  return config.config_from_values(values)


def manual_page() -> str:
  """Returns the text of --help."""
  sections: dict[str, list[str]] = {
    "SYNOPSIS": ["  python main.py --job-type JOB [--flag value ...]"],
    "JOBS": [f"  {name:<16} {summary}" for name, summary in JOBS.items()],
  }
  for group, settings in config.setting_groups().items():
    sections[_GROUP_TITLES[group]] = command_line.settings_entries(settings)
  sections["EXAMPLES"] = [_EXAMPLES]
  return command_line.manual_page(
    "main.py - neural approximate nearest-neighbor retrieval",
    _SUMMARY,
    sections,
  )


def main() -> None:
  """Runs the job that --job-type names."""
  job_type = command_line.flag_value(_JOB_FLAG)
  if job_type is None:
    sys.exit("main.py: --job-type is missing, wanted one of " + ", ".join(JOBS))
  settings = config_from_flags()
  with command_line.without_startup_notes():
    job = importlib.import_module(f"nann.jobs.{job_type}")
  job.run(settings)


if __name__ == "__main__":
  define_flags()
  command_line.run("main.py", main, manual_page())
