"""Reads the original system's records: one record a window.

Each holds item_ids [L], gt_item_id and more; categories are taken from
ub_items.npz, which says the same. Written by nobody here.
"""

import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from nann.data_provider import records

_SHUFFLE_WINDOWS = 200_000


def _parse(max_length: int) -> tf.types.experimental.GenericFunction:
  features = {
    "item_ids": tf.io.FixedLenFeature([max_length], tf.int64),
    "gt_item_id": tf.io.FixedLenFeature([], tf.int64),
  }

  def parse(batch: tf.Tensor) -> dict[str, tf.Tensor]:
    parsed = tf.io.parse_example(batch, features)
    return {"history": parsed["item_ids"], "target": parsed["gt_item_id"]}

  return parse


def _open(path: pathlib.Path) -> tf.data.TFRecordDataset:
  return tf.data.TFRecordDataset(
    str(path), buffer_size=records.READ_BUFFER_BYTES
  )


def read_windows(
  path: pathlib.Path, max_length: int
) -> tuple[np.ndarray, np.ndarray]:
  """Reads a file of windows into memory.

  Returns:
    histories: [n, L] int64, and
    targets: [n] int64.

  Raises:
    ValueError: The file is truncated or holds something else.
  """
  dataset = _open(path).batch(1024)
  with records.errors_name_the_file([path]):
    parts = list(dataset.map(_parse(max_length)).as_numpy_iterator())
  if not parts:
    raise ValueError(f"{path} holds no record")
  return (
    np.concatenate([part["history"] for part in parts]),
    np.concatenate([part["target"] for part in parts]),
  )


class WindowTrainingData:
  """Batches of windows from the original's training file.

  The same interface as `training_data.SequenceTrainingData`. The order is that
  of a seeded shuffle buffer; going on from a step reads over what came before.
  """

  def __init__(
    self,
    path: pathlib.Path,
    num_windows: int,
    batch_size: int,
    num_epochs: int,
    max_length: int,
    seed: int,
  ) -> None:
    self._path = path
    self._batch_size = batch_size
    self._num_epochs = num_epochs
    self._max_length = max_length
    self._seed = seed
    self._steps_per_epoch = num_windows // batch_size
    self.num_steps = self._steps_per_epoch * num_epochs
    if not self.num_steps:
      raise ValueError(
        f"{path} holds {num_windows:,} windows, fewer than one batch of"
        f" {batch_size:,}; lower --batch-size"
      )

  def batches(self, start_step: int = 0) -> Iterator[tf.data.Dataset]:
    """Yields data sets that together give the batches from `start_step` on."""
    for epoch in range(self._num_epochs):
      first_step = epoch * self._steps_per_epoch
      skip = max(0, start_step - first_step)
      if skip < self._steps_per_epoch:
        yield self._epoch_batches(epoch, first_step, skip)

  def _epoch_batches(
    self, epoch: int, first_step: int, skip: int
  ) -> tf.data.Dataset:
    steps = tf.data.Dataset.range(
      first_step, first_step + self._steps_per_epoch
    )
    windows = (
      _open(self._path)
      .shuffle(_SHUFFLE_WINDOWS, seed=self._seed * 1_000_003 + epoch)
      .batch(self._batch_size, drop_remainder=True)
      .map(_parse(self._max_length))
    )
    return (
      tf.data.Dataset.zip(windows, steps)
      .map(lambda batch, step: {**batch, "step": step})
      .skip(skip)
      .prefetch(4)
    )
