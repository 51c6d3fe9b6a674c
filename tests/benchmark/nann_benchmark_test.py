"""The load generator, as documented and with wrong input."""

import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from nann import ops, paths
from tests.benchmark.answer_requests_test import record
from tests.conftest import ROOT, Run, main
from tests.nann.delivery import models
from tests.nann.delivery.models import Exported, histories, to_raw
from tests.nann.jobs.export_test import copied
from tests.native_programs import cmake_target

pytestmark = pytest.mark.slow

SHORT = ("--duration=0.5", "--warm_up=0.1", "--bench_thread_count=2")
# As documented, from the repository.
COMMANDS = """
set -e
cd nann/benchmark
python gen_runmeta.py --output-dir ${output_root}/export/ %s
python gen_benchmark_conf.py --model-dir ${output_root}/export
cd ${output_root}/export
${root}/benchmark/build/nann_benchmark benchmark_conf %s --json=result.json
"""


@pytest.fixture(scope="module")
def binary() -> pathlib.Path:
  return cmake_target("nann_benchmark")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
  return Exported(tmp_path_factory.mktemp("export"), models.serving())


@pytest.fixture(scope="module")
def requests(
  exported: Exported, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
  users = to_raw(histories(7))
  found = [("retrieve", {"history_item_ids": user[None]}) for user in users]
  return record(tmp_path_factory.mktemp("requests") / "requests", found)


def run(
  binary: pathlib.Path, *arguments: object
) -> subprocess.CompletedProcess:
  return run_with({}, binary, *arguments)


def run_with(
  variables: dict[str, str], binary: pathlib.Path, *arguments: object
) -> subprocess.CompletedProcess:
  """Runs the program with some variables of the environment."""
  return subprocess.run(
    [binary, *map(str, arguments)],
    env={**os.environ, **variables},
    capture_output=True,
    text=True,
    check=False,
  )


def documented(output_root: pathlib.Path, data: str) -> dict:
  """Runs the documented commands; returns the figures of the model."""
  python = pathlib.Path(sys.executable).parent
  done = subprocess.run(
    ["bash", "-c", COMMANDS % (data, " ".join(SHORT))],
    cwd=ROOT,
    env={
      **os.environ,
      "PATH": f"{python}:{os.environ['PATH']}",
      "PYTHONPATH": str(ROOT),
      "output_root": str(output_root),
      "root": str(ROOT),
    },
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  export = paths.ExportPaths(output_root / "export")
  assert export.benchmark_conf.exists()
  content = json.loads((export.root / "result.json").read_text())
  figures = content["figures"]["models"]["nann"]
  assert figures["answers"] > 0
  assert figures["errors"] == figures["shed"] == 0
  assert f"{figures['answers_per_s']:.1f}" in done.stdout
  assert content["versions"]["tensorflow"] == tf.__version__
  return figures


def test_documented_commands_word_for_word(
  binary: pathlib.Path, small_run: Run, tmp_path: pathlib.Path
) -> None:
  run_ = copied(small_run, tmp_path)
  main("export", *run_.flags, "--topk-eval=20")
  assert "num_scored" not in documented(run_.output_root, "")
  of_users = documented(
    run_.output_root, f"--dataset-dir {run_.dataset_dir} --num-requests 40"
  )
  assert of_users["requests"] == 40
  assert of_users["num_scored"] > 20
  by_embeddings = documented(
    run_.output_root,
    f"--dataset-dir {run_.dataset_dir} --signature serving_default",
  )
  assert by_embeddings["requests"] == 1000


def test_flags_do_without_a_file(
  binary: pathlib.Path,
  exported: Exported,
  requests: pathlib.Path,
  tmp_path: pathlib.Path,
) -> None:
  found = tmp_path / "found.json"
  done = run(
    binary,
    *SHORT,
    f"--saved_model={exported.version}",
    f"--runmeta={requests}",
    "--qps=300",
    "--arrivals=constant",
    "--predictor_num=2",
    "--name=mine",
    f"--json={found}",
  )
  assert done.returncode == 0, done.stderr
  figures = json.loads(found.read_text())["figures"]["models"]["mine"]
  assert figures["answers"] + figures["shed"] == 150
  wanted = exported.ask("retrieve", history_item_ids=to_raw(histories(7)))[
    "num_scored"
  ]
  assert abs(figures["num_scored"] - np.mean(wanted)) < 0.1 * np.mean(wanted)


def test_models_are_switched_under_load(
  binary: pathlib.Path, exported: Exported, requests: pathlib.Path
) -> None:
  done = run(
    binary,
    *("--duration=1.5", "--warm_up=0", "--qps=50", "--switch_interval=0.2"),
    f"--saved_model={exported.version}",
    f"--runmeta={requests}",
  )
  assert done.returncode == 0, done.stderr
  assert "errors                  0" in done.stdout
  (line,) = [x for x in done.stdout.splitlines() if "switches" in x]
  assert int(line.split()[1].rstrip(",")) >= 1


def test_version_that_cannot_be_loaded_fails_the_run_not_the_requests(
  binary: pathlib.Path, requests: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  model = Exported(tmp_path / "export", models.serving())
  process = subprocess.Popen(
    [
      *(binary, f"--saved_model={model.version}", f"--runmeta={requests}"),
      *("--duration=2.5", "--warm_up=0", "--qps=20", "--switch_interval=0.5"),
    ],
    stdout=subprocess.PIPE,
    text=True,
  )
  assert process.stdout is not None
  # The first second has passed.
  assert "answers/s" in process.stdout.readline()
  (model.version / paths.SAVED_MODEL).rename(tmp_path / "gone")
  text = process.communicate()[0]
  assert process.returncode == 1
  assert "errors                  0" in text
  (line,) = [x for x in text.splitlines() if "switches" in x]
  assert int(line.split()[-1]) >= 1


def test_two_models_of_a_file_share_the_threads(
  binary: pathlib.Path,
  exported: Exported,
  requests: pathlib.Path,
  tmp_path: pathlib.Path,
) -> None:
  (tmp_path / "requests").write_bytes(requests.read_bytes())
  (tmp_path / "session").write_text("intra_op_parallelism_threads: 1")
  (tmp_path / "run").write_text("timeout_in_ms: 10000")
  model = f"""bench_model_config {{
    name: "%s" saved_model: "{exported.version}" runmeta: "requests" %s
    config_proto: "session" run_options: "run" signature_key: "retrieve"
  }}
  """
  conf = tmp_path / "conf"
  conf.write_text(
    model % ("closed", "") + model % ("open", "qps: 20") + 'json: "result"'
  )
  done = run(binary, conf, *SHORT)
  assert done.returncode == 0, done.stderr
  found = json.loads((tmp_path / "result").read_text())["figures"]["models"]
  assert found["closed"]["answers"] > found["open"]["answers"] > 0


TWO_CPUS = 'device_count { key: "CPU" value: 2 } log_device_placement: true'


@pytest.mark.parametrize("form", ["saved_model", "frozen_graph"])
def test_instances_run_on_the_devices_in_turn(
  binary: pathlib.Path,
  exported: Exported,
  requests: pathlib.Path,
  tmp_path: pathlib.Path,
  form: str,
) -> None:
  (tmp_path / "session").write_text(TWO_CPUS)
  model = f'saved_model: "{exported.version}"'
  if form == "frozen_graph":
    files = exported.target
    model = (
      f'frozen_graph: "{files.exec_graph}" meta_graph: "{files.exec_meta}"'
    )
  conf = tmp_path / "conf"
  conf.write_text(
    f"""bench_model_config {{
      name: "mine" {model} runmeta: "{requests}" config_proto: "session"
      predictor_num: 3 devices: "/CPU:1" devices: "/device:CPU:0"
    }}
    json: "result" """
  )
  done = run_with(
    {"TF_CPP_MIN_LOG_LEVEL": "0"}, binary, conf, *SHORT, "--qps=100"
  )
  assert done.returncode == 0, done.stderr
  # TensorFlow says where it has put each node of each instance.
  placed = re.findall(r"Nann>BeamSearch\).*device:CPU:(\d)", done.stderr)
  assert sorted(set(placed)) == ["0", "1"]
  assert placed.count("1") == 2 * placed.count("0")
  found = json.loads((tmp_path / "result").read_text())["figures"]["models"]
  wanted = exported.ask("retrieve", history_item_ids=to_raw(histories(7)))[
    "num_scored"
  ]
  figures = found["mine"]
  assert figures["answers"] > 0
  assert figures["errors"] == 0
  assert abs(figures["num_scored"] - np.mean(wanted)) < 0.1 * np.mean(wanted)


def test_requests_that_fail_are_named_before_the_load(
  binary: pathlib.Path, exported: Exported, tmp_path: pathlib.Path
) -> None:
  good = {"history_item_ids": to_raw(histories(1))}
  wrong = {"history_item_ids": np.zeros((1, 2), np.float32)}
  path = record(tmp_path / "r", [("retrieve", good), ("retrieve", wrong)])
  done = run(
    binary, *SHORT, f"--saved_model={exported.version}", f"--runmeta={path}"
  )
  assert done.returncode == 2
  assert "request 1: input history_item_ids of retrieve is of type float" in (
    done.stderr
  )


WRONG = {
  "--saved_model=no/such": "no/such/saved_model.pb is not there",
  "--runmeta=no_such": "runmeta: no_such is not there",
  "--qps=0": "qps is 0, wanted a number above 0, or -1",
  "--qps=fast": "--qps is fast: ",
  "--predictor_num=0": "predictor_num is 0, wanted 1 to 1000",
  "--devices=/CPU:1": "devices: /CPU:1: device /CPU:1 is not among /job:local",
  "--devices=CPU": "devices: CPU: device CPU is not among /job:local",
  "--switch_interval=-1": "switch_interval is -1, wanted seconds",
  "--duration=0": "duration is 0, wanted seconds above 0",
  "--warm_up=-1": "warm_up is -1",
  "--max_queue_size=-1": "max_queue_size is -1, wanted 0 or more",
  "--bench_thread_count=-2": "bench_thread_count is -2",
  "--arrivals=often": "arrivals is often, wanted poisson or constant",
  "--signature_key=score": "is to signature_key score",
  "--frozen_graph=exec.pb": "either saved_model or frozen_graph",
  "--meta_graph=exec.meta.pb": "go together",
  "--op_library=no.so": "op_library: no.so is not there",
  "--config_proto=no": "no is not there",
  "--no_such=1": "--no_such is no flag",
  "--duration": "--duration has no value",
  "--grpc=localhost:8500": "benchmark/grpc_load.py --grpc host:port",
  "no_such_conf": "no_such_conf",
}


@pytest.mark.parametrize("argument", WRONG)
def test_wrong_input_is_named(
  binary: pathlib.Path,
  exported: Exported,
  requests: pathlib.Path,
  argument: str,
) -> None:
  done = run(
    binary,
    f"--op_library={ops.LIBRARY_PATH}",
    f"--saved_model={exported.version}",
    f"--runmeta={requests}",
    argument,
  )
  assert done.returncode == 2
  assert WRONG[argument] in done.stderr


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("bench_model_config {\n  no_such: 1\n}", "conf, line 2, column 10: "),
    ("duration: soon", "conf, line 1, column 11: "),
    ("duration: 1", "no model is given"),
    ("bench_model_config { saved_model: 'x' }", "runmeta is missing"),
  ],
)
def test_wrong_file_is_named(
  binary: pathlib.Path, tmp_path: pathlib.Path, text: str, message: str
) -> None:
  (tmp_path / "conf").write_text(text)
  done = run(binary, tmp_path / "conf")
  assert done.returncode == 2
  assert message in done.stderr


def test_help_names_every_field(binary: pathlib.Path) -> None:
  done = run(binary, "--help")
  assert done.returncode == 0
  for field in ("bench_thread_count", "switch_interval", "runmeta"):
    assert f"  {field}\n" in done.stdout
