"""Training batches as a pure function of (seed, step).

All windows of a block of shards are visited in a random order that is computed,
not stored (a keyed permutation of the window numbers), so that training can go
on from any step exactly where it stopped, and memory holds one block of
sequences and no windows. A data set larger than a block is read block by
block, in another order in each epoch.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from nann.data_provider import records, windows
from nann.in_place import in_place

_BLOCK_EVENTS = 128_000_000  # 512 MB of sequences in memory.


@dataclasses.dataclass(frozen=True)
class Shard:
  """A file of sequences and what it holds."""

  path: pathlib.Path
  num_events: int
  num_windows: int


@dataclasses.dataclass(frozen=True)
class _Block:
  shards: tuple[Shard, ...]
  first_step: int
  num_steps: int
  seed: tuple[int, int]


class SequenceTrainingData:
  """Batches of windows from records of user sequences.

  A batch is a dict: `history` [B, L] int64, `target` [B] int64,
  `user_windows` [B] int64 (windows of the row's user), `step` int64.
  """

  def __init__(
    self,
    shards: Sequence[Shard],
    batch_size: int,
    num_epochs: int,
    max_length: int,
    min_length: int,
    seed: int,
    block_events: int = _BLOCK_EVENTS,
  ) -> None:
    """Plans the epochs; reads nothing yet.

    Args:
      shards: The training records.
      batch_size: B, windows a step over all replicas.
      num_epochs: Passes over all windows; what does not fill a batch at the
        end of a block is left to the next epoch's order.
      max_length: L.
      min_length: Items a target has at least before it.
      seed: Seed of the order.
      block_events: Events that are held in memory at a time.

    Raises:
      ValueError: There are fewer windows than a batch takes.
    """
    self._batch_size = batch_size
    self._max_length = max_length
    self._min_length = min_length
    self._blocks = list(
      _plan(shards, batch_size, num_epochs, seed, block_events)
    )
    self.num_steps = sum(block.num_steps for block in self._blocks)
    if not self.num_steps:
      total = sum(shard.num_windows for shard in shards)
      raise ValueError(
        f"the training users give {total:,} windows, fewer than one batch of"
        f" {batch_size:,}; lower --batch-size (nann_plus: --sequence-batch) or"
        " --train-min-length"
      )

  def batches(self, start_step: int = 0) -> Iterator[tf.data.Dataset]:
    """Yields data sets that together give the batches from `start_step` on."""
    for block in self._blocks:
      skip = max(0, start_step - block.first_step)
      if skip < block.num_steps:
        yield self._block_batches(block, skip)

  def _block_batches(self, block: _Block, skip: int) -> tf.data.Dataset:
    sequences = records.read_sequences([shard.path for shard in block.shards])
    lengths = sequences.lengths()
    counts = windows.num_windows(lengths, self._min_length)
    item_ids = in_place(sequences.item_ids)
    begins = tf.constant(sequences.row_splits[:-1])
    window_ends = tf.constant(np.cumsum(counts))
    windows_of_user = tf.constant(counts)
    length_of_user = tf.constant(lengths)
    total = int(counts.sum())
    batch_size = self._batch_size

    def batch(number: tf.Tensor) -> dict[str, tf.Tensor]:
      places = number * batch_size + tf.range(batch_size, dtype=tf.int64)
      shuffled = tf.random.experimental.index_shuffle(
        tf.cast(places, tf.uint64),
        seed=tf.constant(block.seed, tf.uint32),
        max_index=tf.constant(total - 1, tf.uint64),
      )
      window = tf.cast(shuffled, tf.int64)  # [B]
      user = tf.searchsorted(window_ends, window, side="right")
      # Windows are counted from the end of a sequence backwards.
      sequence_end = tf.gather(begins, user) + tf.gather(length_of_user, user)
      target = sequence_end - (tf.gather(window_ends, user) - window)
      history, target_item_ids = windows.cut(
        item_ids, tf.gather(begins, user), target, self._max_length
      )
      return {
        "history": history,
        "target": target_item_ids,
        "user_windows": tf.gather(windows_of_user, user),
        "step": block.first_step + number,
      }

    return (
      tf.data.Dataset.range(skip, block.num_steps)
      .map(batch, num_parallel_calls=1, deterministic=True)
      .prefetch(4)
    )


def _plan(
  shards: Sequence[Shard],
  batch_size: int,
  num_epochs: int,
  seed: int,
  block_events: int,
) -> Iterator[_Block]:
  """Orders the shards of each epoch and groups them into blocks."""
  first_step = 0
  for epoch in range(num_epochs):
    rng = np.random.default_rng([seed, epoch])
    groups: list[list[Shard]] = [[]]
    for index in rng.permutation(len(shards)):
      held = sum(shard.num_events for shard in groups[-1])
      if held and held + shards[index].num_events > block_events:
        groups.append([])
      groups[-1].append(shards[index])
    for group in groups:
      num_steps = sum(shard.num_windows for shard in group) // batch_size
      block_seed = (seed & 0xFFFFFFFF, first_step)
      yield _Block(tuple(group), first_step, num_steps, block_seed)
      first_step += num_steps
