import os
import pathlib
import subprocess
import sys

import pytest

import main as main_module
from nann import config, settings
from tests.conftest import run_python


def test_help_is_a_manual_of_all_jobs_and_flags() -> None:
  done = run_python("main.py", "--help")
  assert done.returncode == 0
  for job in main_module.JOBS:
    assert job in done.stdout
  for group in config.setting_groups().values():
    for name in group.__dataclass_fields__:
      assert settings.flag_name(name) in done.stdout


def test_help_ends_quietly_when_its_reader_leaves() -> None:
  reader, writer = os.pipe()
  os.close(reader)
  done = subprocess.run(
    [sys.executable, "main.py", "--help"],
    stdout=writer,
    stderr=subprocess.PIPE,
    cwd=pathlib.Path(main_module.__file__).parent,
    check=False,
  )
  os.close(writer)
  assert done.returncode == 0
  assert done.stderr == b""


@pytest.mark.parametrize(
  ("arguments", "eps"),
  [
    ([], 0.0),
    (["--job-type=demo"], 0.0),
    (["--adv-eps=0.3"], 0.3),
    (["--scorer=attention"], 3e-5),
    (["--scorer=attention", "--adv-eps=0"], 0.0),
  ],
)
def test_scorer_brings_defaults_where_nothing_is_given(
  arguments: list[str], eps: float
) -> None:
  program = """
import sys
from absl import flags
import main
main.define_flags()
flags.FLAGS(sys.argv)
print(main.config_from_flags().train.adv_eps)
"""
  done = run_python("-c", program, *arguments)
  assert done.stdout.split() == [str(eps)], done.stderr


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ([], "--job-type is missing, wanted one of prepare_data"),
    (["--job-type=fly"], "value should be one of"),
    (["--job-type=train", "--num-negs=3"], "Unknown command line flag"),
    (["--job-type=train", "--num-neg=x"], "invalid literal"),
    (["--job-type=train", "--num-neg=0"], "wanted at least 1"),
    (["--job-type=train", "--topk-eval=5,x"], "wanted int values"),
    (["--job-type=train", "extra"], "'extra' is no flag"),
    (["--job-type=train", "--dataset-dir=/nowhere"], "run --job-type prepare"),
  ],
)
def test_bad_command_line_ends_with_a_sentence(
  arguments: list[str], message: str
) -> None:
  done = run_python("main.py", *arguments)
  assert done.returncode != 0
  assert message in done.stderr
  assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
  ("command", "flags"),
  [
    ("data_provider/convert_UB_to_tfrecord.py", ("--input", "--output-folder")),
    ("delivery/build_hnsw_index.py", ("--item-embs-file", "--output-dir")),
  ],
)
@pytest.mark.parametrize("python_path", ["", "nann"])
def test_documented_command_explains_itself(
  command: str, flags: tuple[str, ...], python_path: str
) -> None:
  done = run_python(f"nann/{command}", "--help", PYTHONPATH=python_path)
  assert done.returncode == 0, done.stderr
  assert all(flag in done.stdout for flag in flags)


def test_import_nann_loads_nothing_heavy() -> None:
  program = (
    "import sys, nann, nann.config, nann.paths, nann.index.graph,"
    " nann.retrieval.metrics; print([m for m in ('tensorflow', 'faiss',"
    " 'duckdb') if m in sys.modules])"
  )
  assert run_python("-c", program).stdout.strip() == "[]"
