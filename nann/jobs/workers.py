"""Training by several workers, each a process that runs the same job.

TF_CONFIG names them. Every worker plans the same batches, takes its share of
each, and gets the sum of all gradients; so all hold the same model. The chief,
worker 0, writes what a run writes; a worker that starts again, or all of them,
go on from its last checkpoint.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator

import tensorflow as tf

from nann import paths

_TF_CONFIG = "TF_CONFIG"


def are_several() -> bool:
  """Returns whether TF_CONFIG names more workers than this one."""
  return len(_workers()) > 1


def make_strategy() -> tf.distribute.Strategy:
  """Connects to the other workers; waits until they are there.

  Raises:
    ValueError: TF_CONFIG has parameter servers, or names no worker of ours.
  """
  content = json.loads(os.environ[_TF_CONFIG])
  other = set(content["cluster"]) - {"worker", "chief"}
  if other:
    raise ValueError(
      f"TF_CONFIG names {', '.join(sorted(other))}, wanted workers only: tables"
      " are held by every worker"
    )
  return tf.distribute.MultiWorkerMirroredStrategy()


def is_chief() -> bool:
  """Returns whether this process writes what the run writes."""
  if not are_several():
    return True
  task = json.loads(os.environ[_TF_CONFIG])["task"]
  if task["type"] == "chief":
    return True
  has_chief = "chief" in json.loads(os.environ[_TF_CONFIG])["cluster"]
  return task["type"] == "worker" and not has_chief and int(task["index"]) == 0


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
    raise ValueError(
      f"another worker is gone ({error.message[:200]}); start all again: they"
      " go on from the last checkpoint"
    ) from error


def _workers() -> list[str]:
  cluster = json.loads(os.environ.get(_TF_CONFIG) or "{}").get("cluster", {})
  return [*cluster.get("chief", []), *cluster.get("worker", [])]
