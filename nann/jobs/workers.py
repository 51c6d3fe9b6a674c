"""Training by several processes that run the same job; TF_CONFIG names them.

Workers alone: each plans the same batches, takes its share of each, and gets
the sum of all gradients; so all hold the same model. The chief, worker 0,
writes what a run writes. With parameter servers (ps) and a chief: the servers
hold the variables, the chief plans the batches, workers compute steps, each of
a whole batch, and may come and go.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from nann import console, paths
from nann.model.trainer import RESULTS, Trainer


def are_several() -> bool:
  """Returns whether TF_CONFIG names more than this process."""
  return len(_workers()) > 1


def is_server() -> bool:
  """Returns whether this process only does what a chief tells it."""
  return bool(_cluster().get("ps")) and _task()["type"] != "chief"


def serve() -> None:
  """Does what the chief tells until the process is ended."""
  resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
  server = tf.distribute.Server(
    resolver.cluster_spec(),
    job_name=resolver.task_type,
    task_index=resolver.task_id,
    protocol="grpc",
  )
  console.say(f"{resolver.task_type} {resolver.task_id} waits for the chief")
  server.join()


def make_strategy() -> tf.distribute.Strategy:
  """Connects to the other processes; waits until they are there.

  Raises:
    ValueError: There are parameter servers, but no chief or no worker.
  """
  cluster = _cluster()
  if not cluster.get("ps"):
    return tf.distribute.MultiWorkerMirroredStrategy()
  for name in ("chief", "worker"):
    if not cluster.get(name):
      raise ValueError(f"TF_CONFIG names parameter servers, but no {name}")
  resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
  return tf.distribute.ParameterServerStrategy(resolver)


class Steps:
  """Takes steps where the strategy has them taken."""

  def __init__(
    self, strategy: tf.distribute.Strategy, trainer: Trainer
  ) -> None:
    """Takes the trainer, made in the scope of the strategy."""
    self._trainer = trainer
    self._coordinator: Any = None
    if _cluster().get("ps"):
      self._coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    self._most_running = len(_cluster().get("worker", []))
    self._num_running = 0

  def take(self, batch: dict[str, tf.Tensor], step: int) -> dict[str, Any]:
    """Takes a step, or has a worker take it.

    Returns:
      What `Trainer.step` returns; numbers are waited for by float().
    """
    number = tf.constant(step, tf.int64)
    if self._coordinator is None:
      return dict(self._trainer.step(batch, number))
    if self._num_running == self._most_running:
      self.wait()
    self._num_running += 1
    result = self._coordinator.schedule(
      self._trainer.distributed_step, args=(batch, number)
    )
    return {name: _Later(result, name) for name in RESULTS}

  def wait(self) -> None:
    """Returns when all steps are done."""
    if self._coordinator is not None:
      self._coordinator.join()
    self._num_running = 0


class _Later:
  """A number that a worker is computing."""

  def __init__(self, result: Any, name: str) -> None:
    self._result, self._name = result, name

  def __float__(self) -> float:
    return float(self._result.fetch()[self._name])


def is_chief() -> bool:
  """Returns whether this process writes what the run writes."""
  if not are_several():
    return True
  task = _task()
  if "chief" in _cluster():
    return task["type"] == "chief"
  return task["type"] == "worker" and int(task["index"]) == 0


def writable(
  output: paths.OutputPaths, scratch: pathlib.Path
) -> paths.OutputPaths:
  """Returns where this process writes: the chief there, others to scratch."""
  return output if is_chief() else paths.OutputPaths(scratch)


@contextlib.contextmanager
def losses_explained() -> Iterator[None]:
  """Turns the loss of a worker into a sentence that says what to do."""
  try:
    yield
  except (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
  ) as error:
    if not are_several():
      raise
    reason = error.message.splitlines()[0][:120]
    raise ValueError(
      f"another worker is gone ({reason}); start all again: they"
      " go on from the last checkpoint"
    ) from error


def _workers() -> list[str]:
  cluster = _cluster()
  return [*cluster.get("chief", []), *cluster.get("worker", [])]


def _cluster() -> dict[str, list[str]]:
  return dict(_content().get("cluster", {}))


def _task() -> dict[str, Any]:
  return dict(_content()["task"])


def _content() -> dict[str, Any]:
  return dict(json.loads(os.environ.get("TF_CONFIG") or "{}"))
