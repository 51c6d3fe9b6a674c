import collections
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from nann.data_provider import records, training_data, windows


@pytest.fixture(scope="module")
def shards(
  tmp_path_factory: pytest.TempPathFactory,
) -> tuple[list[training_data.Shard], list[np.ndarray]]:
  """Three files of sequences, with lengths from 1 to 30."""
  folder = tmp_path_factory.mktemp("records")
  rng = np.random.default_rng(0)
  found, sequences = [], []
  for number in range(3):
    lengths = rng.integers(1, 31, 20)
    of_shard = [rng.integers(1, 1000, n) for n in lengths]
    ends = np.cumsum(lengths)
    path = folder / str(number)
    users = np.arange(20) + 20 * number
    items = np.concatenate(of_shard)
    records.write_shard(path, users, items, ends - lengths, ends)
    count = int(windows.num_windows(lengths, MIN_LENGTH).sum())
    found.append(training_data.Shard(path, int(lengths.sum()), count))
    sequences += of_shard
  return found, sequences


MIN_LENGTH, MAX_LENGTH, BATCH = 3, 8, 16


def slow_windows(sequences: list[np.ndarray]) -> collections.Counter:
  """All (history, target), the plain version."""
  found: collections.Counter = collections.Counter()
  for sequence in sequences:
    for place in range(MIN_LENGTH, len(sequence)):
      history = sequence[max(0, place - MAX_LENGTH) : place].tolist()
      history += [0] * (MAX_LENGTH - len(history))
      found[tuple(history), int(sequence[place])] += 1
  return found


def make(
  shards: list[training_data.Shard], **changed: object
) -> training_data.SequenceTrainingData:
  arguments: dict = {
    "batch_size": BATCH,
    "num_epochs": 2,
    "max_length": MAX_LENGTH,
    "min_length": MIN_LENGTH,
    "seed": 0,
  }
  return training_data.SequenceTrainingData(shards, **{**arguments, **changed})


def read(
  data: training_data.SequenceTrainingData, start: int = 0
) -> list[dict]:
  return [
    batch for part in data.batches(start) for batch in part.as_numpy_iterator()
  ]


def count(batches: list[dict]) -> collections.Counter:
  return collections.Counter(
    (tuple(history.tolist()), int(target))
    for batch in batches
    for history, target in zip(batch["history"], batch["target"], strict=True)
  )


def test_an_epoch_visits_every_window_once(shards: tuple) -> None:
  files, sequences = shards
  data = make(files, batch_size=1, num_epochs=1)
  assert count(read(data)) == slow_windows(sequences)


@pytest.mark.parametrize("block_events", [1, 400, 10**9])
def test_no_window_comes_twice_in_an_epoch(
  shards: tuple, block_events: int
) -> None:
  files, sequences = shards
  data = make(files, num_epochs=1, block_events=block_events)
  seen = count(read(data))
  assert not seen - slow_windows(sequences)
  assert seen.total() == data.num_steps * BATCH


@pytest.mark.parametrize("block_events", [1, 10**9])
def test_going_on_gives_the_same_batches(
  shards: tuple, block_events: int
) -> None:
  data = make(shards[0], block_events=block_events)
  everything = read(data)
  assert [batch["step"] for batch in everything] == list(range(data.num_steps))
  for start in (1, data.num_steps // 2, data.num_steps - 1):
    rest = read(data, start)
    for a, b in zip(everything[start:], rest, strict=True):
      assert a["step"] == b["step"]
      assert (a["history"] == b["history"]).all()
      assert (a["target"] == b["target"]).all()


def test_batch_says_how_many_windows_the_user_of_a_row_has(
  shards: tuple,
) -> None:
  files, sequences = shards
  data = make(files, batch_size=1, num_epochs=1)
  seen = collections.Counter(
    int(batch["user_windows"][0]) for batch in read(data)
  )
  wanted: collections.Counter = collections.Counter()
  for sequence in sequences:
    windows = max(len(sequence) - 3, 0)
    wanted[windows] += windows
  assert seen == +wanted


def test_epochs_and_seeds_have_their_own_order(shards: tuple) -> None:
  batches = read(make(shards[0]))
  half = len(batches) // 2
  assert (batches[0]["target"] != batches[half]["target"]).any()
  other = read(make(shards[0], seed=1))
  assert (batches[0]["target"] != other[0]["target"]).any()


def test_fewer_windows_than_a_batch_are_refused(shards: tuple) -> None:
  with pytest.raises(ValueError, match="fewer than one batch of 100,000"):
    make(shards[0], batch_size=100_000)


def test_cut_pads_at_the_end() -> None:
  items = tf.constant([1, 2, 3, 4, 5, 6, 7])
  histories, targets = windows.cut(
    items,
    begins=tf.constant([0, 0, 3], tf.int64),
    targets=tf.constant([0, 2, 6], tf.int64),
    max_length=3,
  )
  assert histories.numpy().tolist() == [[0, 0, 0], [1, 2, 0], [4, 5, 6]]
  assert targets.numpy().tolist() == [1, 3, 7]


def test_truncated_records_are_refused(
  shards: tuple, tmp_path: pathlib.Path
) -> None:
  path = tmp_path / "a.tfrecords"
  path.write_bytes(shards[0][0].path.read_bytes()[:-3])
  with pytest.raises(ValueError, match=r"a\.tfrecords: no records of user"):
    records.read_sequences([path])


def test_foreign_records_are_refused(tmp_path: pathlib.Path) -> None:
  path = tmp_path / "a.tfrecords"
  with tf.io.TFRecordWriter(str(path)) as writer:
    writer.write(tf.train.Example().SerializeToString())
  with pytest.raises(ValueError, match="no records of user sequences"):
    records.read_sequences([path])
