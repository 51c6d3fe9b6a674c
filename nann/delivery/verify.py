"""Loads an exported model and compares its answers with expected ones.

Run as a program it is the fresh process in which an export proves itself:

  python -m nann.delivery.verify CASES.npz EXPORT_FOLDER SAVED_MODEL_FOLDER
"""

import dataclasses
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import nann
from nann import files, ops, paths
from nann.delivery import arrays, exec_graph, saved_model

_TOLERANCE = 1e-5

Answer = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Case:
  """A request with the answer to it.

  Attributes:
    signature: What is asked.
    inputs: By name; what is optional may be missing.
    outputs: The outputs that are compared.
    scores: [B, K] of the items that the answer lists: items whose scores differ
      by rounding only may change places. None: the answer lists none.
  """

  signature: str
  inputs: Mapping[str, np.ndarray]
  outputs: Mapping[str, np.ndarray]
  scores: np.ndarray | None = None


def in_fresh_process(
  cases: Sequence[Case],
  exported: paths.ExportPaths,
  version: pathlib.Path,
  scratch: pathlib.Path,
) -> None:
  """Compares what was written with what was meant, in another process.

  Args:
    cases: Requests and answers.
    exported: exec.pb and its files.
    version: Folder of the SavedModel.
    scratch: A file to write.

  Raises:
    ValueError: Something differs.
  """
  save_cases(scratch, cases)
  module = [sys.executable, "-m", "nann.delivery.verify"]
  root = str(pathlib.Path(nann.__file__).parent.parent)
  found = os.environ.get("PYTHONPATH")
  done = subprocess.run(
    [*module, str(scratch), str(exported.root), str(version)],
    env={
      **os.environ,
      "PYTHONPATH": root + (os.pathsep + found if found else ""),
      "TF_CPP_MIN_LOG_LEVEL": "2",
    },
    capture_output=True,
    text=True,
    check=False,
  )
  scratch.unlink()
  if done.returncode:
    reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
    raise ValueError(
      f"the exported model is not what was meant and is not published: {reason}"
    )


def check(
  cases: Sequence[Case], exported: paths.ExportPaths, version: pathlib.Path
) -> None:
  """Raises ValueError if files or answers differ from what is expected."""
  for folder in (exported.assets, version / paths.ASSETS):
    check_assets(folder)
  signatures = exec_graph.read_meta(exported.exec_meta).signature_def
  session = open_exec_graph(exported)
  _compare("exec.pb", cases, answers_of(session, signatures))
  session, signatures = open_saved_model(version)
  _compare("the SavedModel", cases, answers_of(session, signatures))


def check_assets(folder: pathlib.Path) -> None:
  """Raises ValueError if an array is not the one that was written."""
  expected = files.load_json(folder / saved_model.ASSETS_LIST, "export")
  found = arrays.checksums(folder)
  for name, checksum in expected.items():
    if found.get(name) != checksum:
      raise ValueError(f"{folder / name} is not the file that was written")


def open_exec_graph(exported: paths.ExportPaths) -> Any:
  """Returns a session over exec.pb."""
  graph_def = exec_graph.read_graph(exported.exec_graph)
  return exec_graph.open_session(graph_def, str(exported.assets))


def open_saved_model(version: pathlib.Path) -> tuple[Any, Any]:
  """Returns a session over a SavedModel, and its signatures."""
  _load_ops(version / paths.SAVED_MODEL)
  session = tf.compat.v1.Session(graph=tf.Graph())
  with session.graph.as_default():
    meta = tf.compat.v1.saved_model.load(
      session, [tf.saved_model.SERVING], str(version)
    )
  return session, meta.signature_def


def _load_ops(graph: pathlib.Path) -> None:
  """Loads our ops, if a graph has any."""
  if b"Nann>" in graph.read_bytes():
    ops.library()


def answers_of(session: Any, signatures: Any) -> Callable[[str], Answer]:
  """Returns functions of the inputs, by signature."""

  def of_signature(name: str) -> Answer:
    signature = signatures[name]
    fetches = {key: info.name for key, info in signature.outputs.items()}

    def answer(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
      feeds = {signature.inputs[key].name: x for key, x in inputs.items()}
      return dict(session.run(fetches, feeds))

    return answer

  return of_signature


def _compare(
  what: str, cases: Sequence[Case], answers: Callable[[str], Answer]
) -> None:
  for number, case in enumerate(cases):
    got = answers(case.signature)(case.inputs)
    for name, expected in case.outputs.items():
      fault = _fault(got[name], expected, case.scores)
      if fault:
        raise ValueError(
          f"{what} answers request {number} of {case.signature} with other"
          f" {name}: {fault}"
        )


def _fault(
  got: np.ndarray, expected: np.ndarray, scores: np.ndarray | None
) -> str:
  """Says in what an output differs from the expected one; empty: in nothing."""
  if got.shape != expected.shape:
    return f"shape {got.shape}, wanted {expected.shape}"
  if expected.dtype.kind == "f":
    # Scores that are missing are equal, too.
    is_same = (got == expected) | np.isclose(
      got, expected, rtol=_TOLERANCE, atol=_TOLERANCE
    )
  else:
    is_same = got == expected
    if scores is not None and expected.shape == scores.shape:
      is_same |= _may_change_places(scores)
  if is_same.all():
    return ""
  place = tuple(int(i) for i in np.argwhere(~is_same)[0])
  return f"{got[place]} at {place}, wanted {expected[place]}"


def _may_change_places(scores: np.ndarray) -> np.ndarray:
  """Returns [B, K] bool: a neighbor in the list scores the same, but for
  rounding."""
  with np.errstate(invalid="ignore"):
    gaps = np.abs(np.diff(scores, axis=1)) <= _TOLERANCE
  beside = np.zeros(scores.shape, bool)
  beside[:, 1:] |= gaps
  beside[:, :-1] |= gaps
  return beside


def save_cases(path: pathlib.Path, cases: Sequence[Case]) -> None:
  """Writes cases into an .npz file."""
  content: dict[str, np.ndarray] = {}
  for number, case in enumerate(cases):
    key = f"{number}/{case.signature}"
    for kind, values in (("inputs", case.inputs), ("outputs", case.outputs)):
      content |= {f"{key}/{kind}/{name}": x for name, x in values.items()}
    if case.scores is not None:
      content[f"{key}/scores/"] = case.scores
  np.savez(path, **content)  # type: ignore[arg-type]


def load_cases(path: pathlib.Path) -> list[Case]:
  """Reads what `save_cases` has written."""
  parts: dict[tuple[int, str], dict[str, Any]] = {}
  with np.load(path, allow_pickle=False) as content:
    for key in content.files:
      number, signature, kind, name = key.split("/")
      case = parts.setdefault(
        (int(number), signature), {"inputs": {}, "outputs": {}}
      )
      if kind == "scores":
        case["scores"] = content[key]
      else:
        case[kind][name] = content[key]
  return [
    Case(signature, **case) for (_, signature), case in sorted(parts.items())
  ]


def main() -> None:
  """Runs the program."""
  cases, exported, version = map(pathlib.Path, sys.argv[1:])
  try:
    check(load_cases(cases), paths.ExportPaths(exported), version)
  except (ValueError, FileNotFoundError) as error:
    sys.exit(str(error))
  except tf.errors.OpError as error:
    sys.exit(error.message.splitlines()[0])


if __name__ == "__main__":
  main()
