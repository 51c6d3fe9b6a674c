"""Functions of a user's history as frozen graphs: what timings call.

A frozen graph in a session costs a few microseconds a call and runs in the
thread of the caller, as in a server.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.framework import convert_to_constants

from nann import ops
from nann.delivery import variables
from nann.retrieval import result as results
from nann.retrieval import tensors
from nann.retrieval.retriever import Retriever

# Takes histories [1, L] int64, and what else the function takes.
Request = Callable[..., Any]


def search_request(
  retriever: Retriever, policy: results.Policy, k: int
) -> Request:
  """Freezes the search for one user; rows, scores, num_scored."""

  @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int64)])
  def request(histories: tf.Tensor) -> ops.Found:
    return retriever.found(
      histories, tensors.policy_tensors(policy), k, retriever.entries
    )

  # What runs inside the op is not frozen with the rest.
  with variables.as_constants(retriever.scorer):
    return callable_of(request.get_concrete_function())


def callable_of(concrete: Any) -> Request:
  """Freezes a function into a session that runs in the caller's thread."""
  frozen = convert_to_constants.convert_variables_to_constants_v2(
    concrete, lower_control_flow=False
  )
  graph = tf.Graph()
  with graph.as_default():
    tf.import_graph_def(frozen.graph.as_graph_def(), name="")
  threads = tf.compat.v1.ConfigProto(
    intra_op_parallelism_threads=1, inter_op_parallelism_threads=-1
  )
  session = tf.compat.v1.Session(graph=graph, config=threads)
  # What `make_callable` gives builds a feed in Python at each call.
  options = config_pb2.CallableOptions(
    fetch=[output.name for output in frozen.outputs],
    feed=[tensor.name for tensor in frozen.inputs],
  )
  return session._make_callable_from_options(  # type: ignore[no-any-return]
    options
  )


def run_all(
  request: Request, histories: np.ndarray, repeats: int
) -> tuple[list[np.ndarray], np.ndarray]:
  """Returns the answers, and seconds [repeats, users] in random order."""
  answers = [request(history[None]) for history in histories]
  times = times_of(request, histories, repeats)
  return [np.concatenate(part) for part in zip(*answers, strict=True)], times


def times_of(
  request: Request, histories: np.ndarray, repeats: int
) -> np.ndarray:
  """Returns seconds [repeats, users], in random order."""
  rng = np.random.default_rng(1)
  times: np.ndarray = np.empty((repeats, len(histories)))
  for repeat in range(repeats):
    for user in rng.permutation(len(histories)):
      history = histories[user : user + 1]
      begin = time.perf_counter()
      request(history)
      times[repeat, user] = time.perf_counter() - begin
  return times


def median_ms(request: Request, histories: np.ndarray, repeats: int) -> float:
  """Returns the median milliseconds of a request."""
  request(histories[:1])
  times = times_of(request, histories, repeats)
  return 1e3 * float(np.median(times))
