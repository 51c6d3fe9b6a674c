"""Functions of a user's history as frozen graphs: what timings call.

A frozen graph in a session costs a few microseconds a call and runs in the
thread of the caller, as in a server. Its weights are constants. Large arrays
are not: all requests of a process read them where they lie.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.framework import convert_to_constants

from nann import ops
from nann.delivery import arrays, variables
from nann.retrieval import result as results
from nann.retrieval import tensors
from nann.retrieval.retriever import Retriever

# Takes histories [1, L] int64, and what else the function takes.
Request = Callable[..., Any]
# Larger ones would lie in a graph several times.
_MOST_CONSTANT_BYTES = 1 << 20


def search_request(
  retriever: Retriever, policy: results.Policy, k: int
) -> Request:
  """Freezes the search for one user; rows, scores, num_scored."""

  @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int64)])
  def request(histories: tf.Tensor) -> ops.Found:
    return retriever.found(
      histories, tensors.policy_tensors(policy), k, retriever.entries
    )

  return callable_of(request, retriever.scorer)


def callable_of(function: Any, scorer: tf.Module | None = None) -> Request:
  """Freezes a function into a session that runs in the caller's thread.

  Args:
    function: A tf.function with an input signature.
    scorer: What holds the variables that it reads.
  """
  with variables.as_constants(scorer or tf.Module()):
    concrete = function.get_concrete_function()
  # Without it, the session alone makes loops of stock ops a sixth slower.
  graph_def = convert_to_constants._run_inline_graph_optimization(
    concrete, lower_control_flow=False, aggressive_inlining=False
  )
  graph = tf.Graph()
  with graph.as_default():
    captured, feeds = _captured(concrete.graph.captures)
    tf.graph_util.import_graph_def(graph_def, input_map=captured, name="")
  threads = tf.compat.v1.ConfigProto(
    intra_op_parallelism_threads=1, inter_op_parallelism_threads=-1
  )
  session = tf.compat.v1.Session(graph=graph, config=threads)
  for assignment, placeholder, value in feeds:
    session.run(assignment, {placeholder: arrays.as_array(value)})
  # What `make_callable` gives builds a feed in Python at each call.
  inputs = concrete.inputs[: len(concrete.inputs) - len(captured)]
  options = config_pb2.CallableOptions(
    fetch=[output.name for output in concrete.outputs],
    feed=[tensor.name for tensor in inputs],
  )
  return session._make_callable_from_options(  # type: ignore[no-any-return]
    options
  )


def _captured(
  captures: Sequence[tuple[tf.Tensor, tf.Tensor]],
) -> tuple[dict[str, tf.Tensor], list[tuple[Any, tf.Tensor, tf.Tensor]]]:
  """Makes what stands for captured values in the graph that is the default.

  A variable takes what is assigned to it without a copy.

  Returns:
    Tensors by the names of the placeholders, and the assignments that are to be
    run once, each with its placeholder and value.
  """
  found, feeds = {}, []
  for value, placeholder in captures:
    if value.dtype == tf.resource:
      raise ValueError(
        f"the function reads the variable {placeholder.op.name}, which is not"
        " among those of the scorer"
      )
    if value.dtype.size * value.shape.num_elements() <= _MOST_CONSTANT_BYTES:
      found[placeholder.name] = tf.constant(value.numpy())
      continue
    # Variables of one name would be one variable.
    variable = tf.raw_ops.VarHandleOp(
      dtype=value.dtype, shape=value.shape, shared_name=placeholder.name
    )
    given = tf.compat.v1.placeholder(value.dtype, value.shape)
    assignment = tf.raw_ops.AssignVariableOp(resource=variable, value=given)
    feeds.append((assignment, given, value))
    found[placeholder.name] = tf.raw_ops.ReadVariableOp(
      resource=variable, dtype=value.dtype
    )
  return found, feeds


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
