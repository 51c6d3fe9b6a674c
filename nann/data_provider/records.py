"""User sequences as sharded TFRecord: one record a user.

A record holds `user_id` (the raw id as text) and `item_ids` (the user's
events, oldest first). A held-out user's sequence ends with the target: what
came after it is not stored at all.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

USER_ID, ITEM_IDS = "user_id", "item_ids"
_READ_BATCH = 2048
READ_BUFFER_BYTES = 8 << 20


@dataclasses.dataclass(frozen=True)
class Sequences:
  """Many sequences in one array.

  Attributes:
    item_ids: [E] int32, the sequences one after the other.
    row_splits: [U + 1] int64: sequence u is item_ids[row_splits[u]:
      row_splits[u + 1]].
    user_ids: [U] bytes, the raw ids.
  """

  item_ids: np.ndarray
  row_splits: np.ndarray
  user_ids: np.ndarray

  def __len__(self) -> int:
    return len(self.row_splits) - 1

  def lengths(self) -> np.ndarray:
    return np.diff(self.row_splits)


def write_shard(
  path: pathlib.Path,
  user_ids: np.ndarray,
  item_ids: np.ndarray,
  begins: np.ndarray,
  ends: np.ndarray,
) -> None:
  """Writes one file of records.

  Args:
    path: The file.
    user_ids: [U] raw ids, int64 or bytes.
    item_ids: [E] integers, the events of all users.
    begins: [U] where each user's sequence begins in `item_ids`, and
    ends: [U] where it ends.
  """
  with tf.io.TFRecordWriter(str(path)) as writer:
    for user_id, begin, end in zip(user_ids, begins, ends, strict=True):
      name = user_id if isinstance(user_id, bytes) else b"%d" % user_id
      example = tf.train.Example()
      feature = example.features.feature
      feature[USER_ID].bytes_list.value.append(name)
      feature[ITEM_IDS].int64_list.value.extend(item_ids[begin:end].tolist())
      writer.write(example.SerializeToString(deterministic=True))


@contextlib.contextmanager
def errors_name_the_file(paths: Sequence[pathlib.Path]) -> Iterator[None]:
  """Turns TensorFlow's read errors into sentences that say what to do."""
  try:
    yield
  except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
    names = ", ".join(path.name for path in paths)
    raise ValueError(
      f"{names}: no records of user sequences ({error.message[:200]}); run"
      " --job-type prepare_data again"
    ) from error


def read_sequences(paths: Sequence[pathlib.Path]) -> Sequences:
  """Reads whole files of records into memory.

  Raises:
    FileNotFoundError: No file is given.
    ValueError: A file is truncated or holds something else.
  """
  if not paths:
    raise FileNotFoundError(
      "there are no records of user sequences; run --job-type prepare_data"
    )
  features = {
    USER_ID: tf.io.FixedLenFeature([], tf.string),
    ITEM_IDS: tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64),
  }

  def parse(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    parsed = tf.io.parse_example(records, features)
    ragged = parsed[ITEM_IDS]
    item_ids = tf.cast(ragged.values, tf.int32)
    return parsed[USER_ID], item_ids, ragged.row_lengths()

  dataset = (
    tf.data.TFRecordDataset(
      [str(path) for path in paths], buffer_size=READ_BUFFER_BYTES
    )
    .batch(_READ_BATCH)
    .map(parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    .prefetch(tf.data.AUTOTUNE)
  )
  user_ids: list[np.ndarray] = []
  lengths: list[np.ndarray] = []
  # One array that grows, and copies of the rest: TensorFlow keeps the memory of
  # what it once held.
  item_ids, end = np.empty(1 << 20, np.int32), 0
  with errors_name_the_file(paths):
    for names, items, counts in dataset.as_numpy_iterator():
      begin, end = end, end + len(items)
      if end > len(item_ids):
        item_ids.resize(2 * end, refcheck=False)
      item_ids[begin:end] = items
      user_ids.append(names)
      lengths.append(counts.copy())
  item_ids.resize(end, refcheck=False)
  return Sequences(
    item_ids,
    np.cumsum(np.concatenate([[0], *lengths]), dtype=np.int64),
    np.concatenate([np.zeros(0, object), *user_ids]),
  )
