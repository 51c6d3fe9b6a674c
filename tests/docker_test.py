"""The files for Docker, as far as they can be tried without an engine."""

import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

DOCKER = ROOT / "docker"

# As in the BUILD file of TensorFlow Serving's ModelServer.
MODEL_SERVERS_BUILD = """\
load("//tensorflow_serving:tensorflow_version.bzl", "if_not_v2", "if_v2")

# This is not inlined by tools.
SUPPORTED_TENSORFLOW_OPS = if_v2([]) + if_not_v2([
    "@org_tensorflow//tensorflow/contrib:contrib_kernels",
]) + [
    "@org_tensorflow_text//tensorflow_text:ops_lib",
]

cc_library(
    name = "server_lib",
    deps = ["//core"] + SUPPORTED_TENSORFLOW_OPS,
)
"""
TARGET = "//tensorflow_serving/custom_ops/nann:nann_ops"


def link_ops(build_file: pathlib.Path) -> subprocess.CompletedProcess:
  return subprocess.run(
    [DOCKER / "link_ops.sh", build_file],
    capture_output=True,
    text=True,
    check=False,
  )


def linked(build_file: pathlib.Path) -> list[str]:
  """Runs a BUILD file; returns what server_lib depends on."""
  found: dict[str, Any] = {}
  names = {
    "load": lambda *_: None,
    "if_v2": lambda of_v2: of_v2,
    "if_not_v2": lambda of_v1: [],
    "cc_library": lambda **attributes: found.update(attributes),
  }
  exec(build_file.read_text(), names)
  return found["deps"]


def test_ops_are_linked_once(tmp_path: pathlib.Path) -> None:
  build_file = tmp_path / "BUILD"
  build_file.write_text(MODEL_SERVERS_BUILD)
  wanted = [*linked(build_file), TARGET]
  for _ in range(2):
    done = link_ops(build_file)
    assert done.returncode == 0, done.stderr
    assert sorted(linked(build_file)) == sorted(wanted)


def test_another_build_file_is_refused(tmp_path: pathlib.Path) -> None:
  build_file = tmp_path / "BUILD"
  build_file.write_text("cc_library(name = 'server_lib')\n")
  done = link_ops(build_file)
  assert done.returncode == 1
  assert "SUPPORTED_TENSORFLOW_OPS" in done.stderr


def instructions(name: str, word: str) -> list[list[str]]:
  """Returns the words of the instructions of one kind of a Dockerfile."""
  text = (DOCKER / name).read_text().replace("\\\n", " ")
  lines = [line.split() for line in text.splitlines()]
  return [line[1:] for line in lines if line and line[0] == word]


@pytest.mark.parametrize("name", ["serving.Dockerfile", "devel.Dockerfile"])
def test_what_is_copied_is_there(name: str) -> None:
  for words in instructions(name, "COPY"):
    if any(word.startswith("--from") for word in words):
      continue
    sources = [word for word in words[:-1] if not word.startswith("--")]
    for source in sources:
      assert (ROOT / source).exists(), source


def test_ops_are_copied_to_where_they_are_linked_from() -> None:
  folder = TARGET.removeprefix("//").split(":")[0]
  copied = {words[0]: words[-1] for words in instructions(
    "serving.Dockerfile", "COPY"
  )}  # fmt: skip
  assert copied["BUILD"] == f"{folder}/"
  for source in ("ops/core/", "ops/tf/"):
    # BUILD names its sources from where it lies itself.
    assert copied[source] == f"{folder}/{source}"


def services() -> dict[str, Any]:
  return yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]


def test_paths_of_the_compose_file_are_there() -> None:
  for service in services().values():
    for volume in service.get("volumes", []):
      source = re.sub(r"\$\{[^}]*\}", "", volume).split(":")[0]
      if source:
        assert (DOCKER / source).exists(), source
    if "build" in service:
      context = (DOCKER / service["build"]["context"]).resolve()
      assert (context / service["build"]["dockerfile"]).exists()


def test_configurations_lie_where_the_server_looks() -> None:
  for service in services().values():
    for flag in service.get("command", []):
      assert re.fullmatch(r"--\w+=.*", flag), flag
      for name in re.findall(r"/config/([\w.]+)", flag):
        assert (DOCKER / "serving" / name).exists()
  text = (DOCKER / "README.md").read_text()
  for name in re.findall(r"=/config/([\w.]+)", text):
    assert (DOCKER / "serving" / name).exists()


def test_versions_are_pinned_and_alike() -> None:
  found = services()
  version = found["serving"]["build"]["args"]["TF_SERVING_VERSION"]
  assert instructions("serving.Dockerfile", "ARG")[0] == [
    f"TF_SERVING_VERSION={version}"
  ]
  assert found["serving"]["image"].endswith(f":{version}")
  assert found["stock"]["image"] == f"tensorflow/serving:{version}"
  # The op library and ModelServer are of one minor version of TensorFlow.
  minor = ".".join(version.split(".")[:2])
  assert f'"tensorflow>={minor},<' in (ROOT / "setup.py").read_text()


@pytest.mark.parametrize(
  ("linter", "files"),
  [
    ("hadolint", sorted(DOCKER.glob("*.Dockerfile"))),
    ("shellcheck", [DOCKER / "link_ops.sh"]),
  ],
)
def test_linters_find_nothing(linter: str, files: list[pathlib.Path]) -> None:
  program = pathlib.Path(sys.executable).parent / linter
  if not program.exists():
    pytest.skip(f"{linter} is not installed; pip install -e '.[dev]'")
  done = subprocess.run(
    [program, *files], capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stdout
