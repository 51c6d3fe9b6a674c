"""Job serve as a program: starts, answers, drains at SIGTERM."""

import os
import pathlib
import re
import signal
import subprocess
import sys

import httpx
import pytest

from tests.conftest import ROOT, run_python
from tests.nann.serving import small_export


def test_without_versions_it_ends_with_a_sentence(
  tmp_path: pathlib.Path,
) -> None:
  done = run_python(
    "main.py", "--job-type=serve", f"--output-root={tmp_path}", "--port=0"
  )
  assert done.returncode != 0
  assert "holds no version; run --job-type export" in done.stderr
  assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_sigterm_drains_and_ends_well(tmp_path: pathlib.Path) -> None:
  base_path = tmp_path / "export" / "nann"
  small_export.publish(base_path, 1)
  flags = ["--port=0", "--rest-port=0", f"--output-root={tmp_path}"]
  server = subprocess.Popen(
    [sys.executable, "main.py", "--job-type=serve", *flags],
    cwd=ROOT,
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    stderr=subprocess.PIPE,
    text=True,
  )
  assert server.stderr is not None
  lines = []
  for line in server.stderr:
    lines.append(line)
    if "is served" in line:
      break
  ports = re.search(r"REST at (127\.0\.0\.1:\d+)", lines[-1])
  assert ports, "".join(lines)
  url = f"http://{ports[1]}/v1/models/nann"
  assert httpx.get(url, timeout=60).status_code == 200
  server.send_signal(signal.SIGTERM)
  rest = server.stderr.read()
  assert server.wait(60) == 0
  assert rest.splitlines()[-1].endswith("shut down")
  assert "Traceback" not in rest
