"""Nann>BeamSearch in every place where TensorFlow runs an op."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import cancellation

from nann import ops
from tests import worlds
from tests.ops.tf import cases

WORLD = worlds.random_world(11, num_users=8)
SETTINGS = cases.Settings([9, 9], [2, 1], [9, 3, 40, 999], 6, None, None)
EXPECTED = cases.expected(WORLD, "best_first", SETTINGS)


def arguments() -> dict[str, Any]:
  return cases.inputs(WORLD, "best_first", SETTINGS)


def traced(
  score: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
) -> dict[str, Any]:
  """Returns the inputs that make `score` the scorer."""
  concrete = tf.function(score).get_concrete_function(
    tf.TensorSpec([1, None], tf.float32), tf.TensorSpec([1, None], tf.int32)
  )
  return {"scorer": concrete, "captured": concrete.captured_inputs}


def with_loop(table: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
  """Scores by a loop and a branch: nodes that call functions."""
  _, scores = tf.while_loop(
    lambda i, scores: i < 2,
    lambda i, scores: (i + 1, scores + tf.gather(table, rows, axis=1)[0] / 2),
    (0, tf.zeros_like(rows, tf.float32)),
  )
  return tf.cond(
    tf.reduce_all(scores >= 0), lambda: scores, lambda: scores * 1.0
  )


def with_call(table: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
  """Scores in an inner function."""
  inner = tf.function(cases.lookup, experimental_attributes={"_noinline": True})
  return inner(table, rows)


def with_python(table: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
  """Scores in Python."""
  return tf.py_function(cases.lookup, (table, rows), tf.float32)


SCORERS = {
  "simple": cases.lookup,
  "loop": with_loop,
  "call": with_call,
  "python": with_python,
}
scorers = pytest.mark.parametrize("score", SCORERS.values(), ids=SCORERS)


@scorers
def test_any_function_scores(score: Callable[..., tf.Tensor]) -> None:
  found = cases.call(arguments() | traced(score))
  assert cases.answers(found) == EXPECTED


@scorers
def test_in_a_function(score: Callable[..., tf.Tensor]) -> None:
  inputs = arguments() | traced(score)

  @tf.function
  def search(user_state: tf.Tensor) -> ops.Found:
    return cases.call(inputs | {"user_state": [user_state]})

  assert cases.answers(search(WORLD.scores)) == EXPECTED


@scorers
def test_in_an_input_pipeline(score: Callable[..., tf.Tensor]) -> None:
  inputs = arguments() | traced(score)
  users = tf.data.Dataset.from_tensors(WORLD.scores).repeat(3)
  found = users.map(
    lambda user_state: cases.call(inputs | {"user_state": [user_state]}),
    num_parallel_calls=3,
  )
  for answers in found:
    assert cases.answers(answers) == EXPECTED


def test_scorer_with_a_queue_keeps_what_it_was_given() -> None:
  """The memory of a step's item state is not used again while it is held."""
  queue = tf.queue.FIFOQueue(1000, [tf.int32], [[1, 1]])

  def score(table: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    queue.enqueue((tf.ensure_shape(rows, [1, 1]),))
    return cases.lookup(table, rows)

  inputs = cases.chain(40) | traced(score)
  cases.call(inputs)
  seen = [int(queue.dequeue()[0, 0]) for _ in range(int(queue.size()))]
  assert seen == list(range(40))


def test_scorer_in_python_keeps_what_it_was_given() -> None:
  seen = []

  def keep(table: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    seen.append(rows)
    return cases.lookup(table, rows)

  def score(table: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    return tf.py_function(keep, (table, rows), tf.float32)

  cases.call(cases.chain(40) | traced(score))
  assert [int(rows[0, 0]) for rows in seen] == list(range(40))


@scorers
def test_error_of_a_scorer_passes_through(
  score: Callable[..., tf.Tensor],
) -> None:
  def fails_late(table: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    check = tf.debugging.assert_less(rows, 20, message="too deep for me")
    with tf.control_dependencies([check]):
      return score(table, rows)

  with pytest.raises(tf.errors.InvalidArgumentError, match="too deep for me"):
    cases.call(cases.chain(40) | traced(fails_late))
  found = cases.call(cases.chain(20) | traced(fails_late))
  assert found.rows.numpy().tolist() == [[19]]


@scorers
def test_long_search_grows_no_stack(score: Callable[..., tf.Tensor]) -> None:
  length = 2000 if score is with_python else 20_000
  found = cases.call(cases.chain(length) | traced(score))
  assert found.rows.numpy().tolist() == [[length - 1]]
  assert found.num_scored.numpy().tolist() == [[1] * length]


@pytest.mark.parametrize("score", [cases.lookup, with_loop])
def test_many_threads_get_the_answers_of_one(
  score: Callable[..., tf.Tensor],
) -> None:
  inputs = arguments() | traced(score)
  search = tf.function(
    lambda user_state: cases.call(inputs | {"user_state": [user_state]})
  )
  wrong: list[Any] = []

  def work() -> None:
    for _ in range(20):
      found = cases.answers(search(WORLD.scores))
      if found != EXPECTED:
        wrong.append(found)

  threads = [threading.Thread(target=work) for _ in range(16)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not wrong


# More steps than anybody waits for.
ENDLESS = 1 << 20


def slowly(table: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
  """Scores with so much work that an endless search takes minutes."""
  work = tf.reduce_sum(tf.random.uniform([1 << 16]))
  return cases.lookup(table, rows) + 0 * work


def slowly_with_loop(table: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
  return with_loop(table, rows) + 0 * slowly(table, rows)


slow_scorers = pytest.mark.parametrize("score", [slowly, slowly_with_loop])


@slow_scorers
def test_cancelled_search_stops(score: Callable[..., tf.Tensor]) -> None:
  inputs = cases.chain(ENDLESS) | traced(score)
  search = tf.function(lambda: cases.call(inputs)).get_concrete_function()
  manager = cancellation.CancellationManager()
  canceller = threading.Timer(0.05, manager.start_cancel)
  canceller.start()
  begin = time.monotonic()
  with pytest.raises(tf.errors.CancelledError):
    manager.get_cancelable_function(search)()
  assert time.monotonic() - begin < 10
  found = cases.call(cases.chain(40) | traced(score))
  assert found.rows.numpy().tolist() == [[39]]


@slow_scorers
def test_search_past_its_deadline_stops(
  score: Callable[..., tf.Tensor],
) -> None:
  with tf.Graph().as_default():
    found = cases.call(cases.chain(ENDLESS) | traced(score))
    short = cases.call(cases.chain(40) | traced(score))
    with tf.compat.v1.Session() as session:
      options = tf.compat.v1.RunOptions(timeout_in_ms=50)
      begin = time.monotonic()
      with pytest.raises(tf.errors.DeadlineExceededError):
        session.run(found.rows, options=options)
      assert time.monotonic() - begin < 10
      assert session.run(short.rows).tolist() == [[39]]


def test_failure_stops_the_other_queries() -> None:
  inputs = cases.chain(ENDLESS) | traced(slowly)
  table = np.tile(inputs["user_state"][0], (2, 1))
  table[1, 100] = np.nan
  inputs |= {
    "user_state": [table],
    "expand": np.zeros((2, 1), np.int32),
    "only_score": np.zeros((2, 0), np.int32),
    "denied": np.zeros((2, 0), np.int32),
  }
  begin = time.monotonic()
  with pytest.raises(tf.errors.InvalidArgumentError, match="nan for row 100"):
    cases.call(inputs)
  assert time.monotonic() - begin < 10


def test_gradient_says_that_there_is_none() -> None:
  table = tf.Variable(WORLD.scores)
  with tf.GradientTape() as tape:
    found = cases.call(arguments() | {"user_state": [table]})
  with pytest.raises(LookupError, match="Differentiate the scorer instead"):
    tape.gradient(found.scores, table)


def test_shapes_are_known_before_the_search() -> None:
  with tf.Graph().as_default():
    users = tf.compat.v1.placeholder(tf.int32, [None, 4])
    k = tf.compat.v1.placeholder(tf.int32, [])
    inputs = arguments()
    found = cases.call(inputs)
    assert found.rows.shape == (8, 6)
    assert found.scores.shape == (8, 6)
    assert found.num_scored.shape == (8, 40)
    found = cases.call(inputs | {"expand": users, "k": k})
    assert found.rows.shape.as_list() == [None, None]
    assert found.num_scored.shape.as_list() == [None, 40]
    found = cases.call(cases.inputs(WORLD, "paper", SETTINGS))
    assert found.num_scored.shape == (8, 3)
    with pytest.raises(ValueError, match="must be rank 2"):
      cases.call(inputs | {"expand": np.zeros(8, np.int32)})
    with pytest.raises(ValueError, match="must be rank 0"):
      cases.call(inputs | {"k": np.zeros(1, np.int32)})
