"""Runs a graph that was delivered, with made-up requests, and says what came.

For a look: is it whole, does every op run, what goes in and out. That answers
are right is the business of `verify`.
"""

import pathlib
import time
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from nann import console, paths
from nann.delivery import exec_graph, mock_requests

_NUM_REQUESTS = 10


def run(graph_file: pathlib.Path, meta_file: pathlib.Path) -> None:
  """Asks each signature of a graph a few times; prints inputs and outputs.

  Args:
    graph_file: exec.pb with assets/ beside it, or frozen_graph.pb.
    meta_file: exec.meta.pb, or 0.meta.

  Raises:
    FileNotFoundError: A file is missing.
    ValueError: The two do not belong together.
  """
  graph_def = exec_graph.read_graph(graph_file)
  meta = exec_graph.read_meta(meta_file)
  exec_graph.check_names(graph_def, meta)
  exec_graph.load_ops(graph_def)
  assets = None
  if exec_graph.reads_arrays(graph_def):
    assets = str(graph_file.parent / paths.ASSETS)
  rng = np.random.default_rng(0)
  with exec_graph.open_session(graph_def, assets) as session:
    for name, signature in sorted(meta.signature_def.items()):
      requests = [
        mock_requests.inputs(signature, rng) for _ in range(_NUM_REQUESTS)
      ]
      _ask(session, name, signature, requests)


def _ask(
  session: tf.compat.v1.Session,
  name: str,
  signature: meta_graph_pb2.SignatureDef,
  requests: list[dict[str, np.ndarray]],
) -> None:
  """Runs requests of one signature and prints the last."""
  inputs = sorted(requests[0])
  outputs = sorted(signature.outputs)
  answer = session.make_callable(
    [signature.outputs[key].name for key in outputs],
    [signature.inputs[key].name for key in inputs],
  )
  times, answers = [], []
  for request in requests:
    begin = time.perf_counter()
    answers = answer(*(request[key] for key in inputs))
    times.append(time.perf_counter() - begin)
  console.say(
    f"{name}: {len(requests)} requests, median"
    f" {1e3 * float(np.median(times)):.2f} ms"
  )
  for key in inputs:
    console.say(f"  in  {_shown(key, requests[-1][key])}")
  for key, value in zip(outputs, answers, strict=True):
    console.say(f"  out {_shown(key, value)}")


def _shown(name: str, value: Any) -> str:
  """Describes a tensor in a line."""
  array = np.asarray(value)
  first = ", ".join(str(x) for x in array.ravel()[:8].tolist())
  more = ", ..." if array.size > 8 else ""
  return f"{name} {array.dtype} {list(array.shape)}: {first}{more}"
