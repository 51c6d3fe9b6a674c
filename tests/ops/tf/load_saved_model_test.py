"""The ops in TensorFlow's C++ runtime, where no Python is."""

import os
import pathlib
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from nann import ops
from tests.conftest import ROOT
from tests.ops.tf import small_model

SOURCE = "tests/ops/tf/load_saved_model.cc"


def compile_program(target: pathlib.Path) -> None:
  """Links the runtime of the Python wheel."""
  folder = tf.sysconfig.get_lib()
  flags = [
    flag.replace("-I", "-isystem", 1)
    for flag in tf.sysconfig.get_compile_flags()
  ]
  # The runtime registers itself: the linker must not leave it out.
  libraries = [
    f"-L{folder}",
    f"-Wl,-rpath,{folder}",
    "-Wl,--no-as-needed",
    "-l:libtensorflow_cc.so.2",
    "-l:libtensorflow_framework.so.2",
  ]
  compiler = os.environ.get("CXX", "g++")
  command = [compiler, *flags, SOURCE, "-o", str(target), *libraries]
  subprocess.run(command, cwd=ROOT, check=True)


def as_text(users: np.ndarray, entries: np.ndarray) -> str:
  lines = [f"{len(users)} {users.shape[1]} {entries.shape[1]}"]
  for user, rows in zip(users, entries, strict=True):
    lines.append(" ".join(map(str, [*user, *rows])))
  return "\n".join(lines)


@pytest.mark.slow
def test_saved_model_answers_alike_in_cpp(tmp_path: pathlib.Path) -> None:
  library = pathlib.Path(tf.sysconfig.get_lib()) / "libtensorflow_cc.so.2"
  if not library.exists():
    pytest.skip(f"this build of TensorFlow has no {library.name}")
  model = small_model.SmallModel(tmp_path)
  small_model.save(model, tmp_path / "saved")
  # Only what was saved is used.
  for name in model.files:
    (tmp_path / f"{name}.npy").unlink()
  compile_program(tmp_path / "load_saved_model")
  users, entries = small_model.queries()
  done = subprocess.run(
    [
      tmp_path / "load_saved_model",
      ops.LIBRARY_PATH,
      tmp_path / "saved",
    ],
    input=as_text(users, entries),
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  got = [np.array(line.split(), float) for line in done.stdout.splitlines()]
  wanted = small_model.load_and_search(str(tmp_path / "saved"))
  for i, name in enumerate(["rows", "scores", "num_scored"]):
    np.testing.assert_array_equal(np.stack(got[i::3]), wanted[name])
