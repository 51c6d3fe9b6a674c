"""What a training run says of itself: console, TensorBoard, log file."""

import json
import math
import pathlib
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from nann import console, files, paths

# A smoothed loss this much above its best is called divergence.
_DIVERGENCE = 1.5


class Monitor:
  """Collects what the steps return; prints, writes and judges it."""

  def __init__(
    self,
    output: paths.OutputPaths,
    batch_size: int,
    start: int,
    save_batch: Callable[[int], pathlib.Path],
  ) -> None:
    """Starts at a step.

    Args:
      output: Where to write.
      batch_size: Samples of a step.
      start: Steps that are done.
      save_batch: Writes the batch of a step, to be looked at.
    """
    self._save_batch = save_batch
    self._log_path = output.training_log
    self._writer = tf.summary.create_file_writer(str(output.tensorboard))
    self._batch_size = batch_size
    self._pending: list[tuple[int, dict[str, tf.Tensor]]] = []
    self._last_step, self._last_time = start, time.monotonic()
    self._best_loss = math.inf

  def add(self, step: int, results: dict[str, tf.Tensor]) -> None:
    self._pending.append((step, results))

  def check(self, step: int) -> dict[str, float]:
    """Returns the means since the last call.

    Raises:
      ValueError: A loss is not a number.
    """
    values = {
      name: np.array([float(results[name]) for _, results in self._pending])
      for name in (self._pending[0][1] if self._pending else {})
    }
    if values and not np.isfinite(values["loss"]).all():
      bad = int(np.argmin(np.isfinite(values["loss"])))
      bad_step = self._pending[bad][0]
      path = self._save_batch(bad_step)
      raise ValueError(
        f"the loss became {values['loss'][bad]} at step {bad_step:,}, whose"
        f" batch is in {path}; the last checkpoint is from before it. Lower"
        " --learning-rate, or start again with another --seed"
      )
    return {name: float(array.mean()) for name, array in values.items()}

  def write(self, step: int, values: dict[str, float]) -> None:
    """Writes scalars for TensorBoard."""
    with self._writer.as_default(step=step):
      for name, value in values.items():
        tf.summary.scalar(name, value)

  def report(self, step: int, num_steps: int) -> None:
    """Prints a line and writes the scalars of the steps since the last one."""
    means = self.check(step)
    now = time.monotonic()
    steps = max(step - self._last_step, 1)
    seconds = max(now - self._last_time, 1e-9)
    rate = steps * self._batch_size / seconds
    left = (num_steps - step) * seconds / steps
    console.say(
      f"step {step:,}/{num_steps:,}  loss {means['loss']:.4f}"
      f"  adversarial {means['loss_adversarial']:.1e}"
      f"  accuracy {means['accuracy']:.3f}"
      f"  {rate:,.0f} samples/s  {console.duration(left)} left"
    )
    self._best_loss = min(self._best_loss, means["loss"])
    if means["loss"] > _DIVERGENCE * self._best_loss:
      console.warn(
        f"the loss is {means['loss']:.3f}, it was {self._best_loss:.3f}: this"
        " training diverges. Lower --learning-rate"
      )
    means["samples_per_s"] = rate
    self.write(step, means)
    with open(self._log_path, "a") as log:
      log.write(json.dumps({"step": step, **means}) + "\n")
    self._pending.clear()
    self._last_step, self._last_time = step, now

  def close(self) -> None:
    self._writer.close()


def cut_log(path: pathlib.Path, step: int) -> None:
  """Drops what was logged after the step a run goes on from."""
  if not path.exists():
    return
  lines = [
    line
    for line in path.read_text().splitlines()
    if json.loads(line)["step"] <= step
  ]
  with files.written_whole(path) as temporary:
    temporary.write_text("".join(line + "\n" for line in lines))
