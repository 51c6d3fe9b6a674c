"""A prepared data set, as the jobs see it: ours, or the original's.

The two differ in what a record is (a user's sequence, or a window); from here
on they look the same.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nann import files, paths
from nann.data_provider import (
  catalogue,
  original_records,
  prepare,
  records,
  training_data,
  windows,
)

TrainingData = (
  training_data.SequenceTrainingData | original_records.WindowTrainingData
)


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """Users to test on.

  Attributes:
    histories: [n, L] int64 item ids, oldest first, 0 = padding.
    targets: [n] int64, the item each user took next.
    user_ids: [n] bytes, raw ids (numbers of the records in the original's
      files).
  """

  histories: np.ndarray
  targets: np.ndarray
  user_ids: np.ndarray

  def __len__(self) -> int:
    return len(self.targets)

  def first(self, number: int) -> "HeldOut":
    return HeldOut(
      self.histories[:number], self.targets[:number], self.user_ids[:number]
    )

  def sample(self, number: int, seed: int) -> "HeldOut":
    """Returns at most so many, drawn at random."""
    chosen = np.random.default_rng(seed).permutation(len(self))[:number]
    return HeldOut(
      self.histories[chosen], self.targets[chosen], self.user_ids[chosen]
    )

  def novel(self) -> np.ndarray:
    """Returns [n] bool: the target is not in the history."""
    return ~(self.histories == self.targets[:, None]).any(axis=1)


@dataclasses.dataclass(frozen=True)
class PreparedData:
  """A data set folder that was found whole.

  Attributes:
    root: The folder.
    meta: Content of ub_meta.json.
    catalogue: The items.
    training_splits: Whose users are trained on, and counted.
  """

  root: pathlib.Path
  meta: dict[str, Any]
  catalogue: catalogue.Catalogue
  training_splits: tuple[str, ...] = ("train",)

  @property
  def max_length(self) -> int:
    """L, the longest history."""
    return int(self.meta["max_length"])

  @property
  def _is_ours(self) -> bool:
    return self.meta.get("format") == prepare.META_FORMAT

  def _shards(self, split: str) -> list[pathlib.Path]:
    """Returns the files of a split after comparing their checksums."""
    shards = paths.DatasetPaths(self.root).shards(split)
    expected = {
      name for name in self.meta["sha256"] if name.startswith(f"ub_{split}-")
    }
    if {path.name for path in shards} != expected:
      raise ValueError(
        f"{self.root} holds {len(shards)} {split} files, its ub_meta.json"
        f" lists {len(expected)}; run --job-type prepare_data again"
      )
    for path in shards:
      if files.checksum(path) != self.meta["sha256"][path.name]:
        raise ValueError(
          f"{path} is not the file ub_meta.json describes (checksum differs);"
          " run --job-type prepare_data again"
        )
    return shards

  def held_out(self, split: str, targets_per_user: int = 1) -> HeldOut:
    """Reads the users of a split, "validate" or "test".

    Args:
      split: Its name.
      targets_per_user: The last so many items of each user are targets, each
        with the history before it, if that has as many items as a target of
        this split at least has; user by user, the last target first. More than
        one is for choosing, not for reporting: the targets of a user are alike.
    """
    original = paths.DatasetPaths(self.root).window_records(split)
    if not self._is_ours:
      if not original.exists():
        raise FileNotFoundError(f"{original} is missing")
      histories, targets = original_records.read_windows(
        original, self.max_length
      )
      names = np.array([b"%d" % i for i in range(len(targets))], dtype=object)
      return HeldOut(histories, targets, names)
    sequences = records.read_sequences(self._shards(split))
    begins, ends = sequences.row_splits[:-1], sequences.row_splits[1:]
    user = np.repeat(np.arange(len(sequences)), targets_per_user)
    places = (ends[:, None] - 1 - np.arange(targets_per_user)).ravel()
    enough = places - begins[user] >= int(self.meta["test_min_length"])
    user, places = user[enough], places[enough]
    histories, targets = windows.cut(
      tf.constant(sequences.item_ids),
      tf.constant(begins[user]),
      tf.constant(places),
      self.max_length,
    )
    return HeldOut(histories.numpy(), targets.numpy(), sequences.user_ids[user])

  def with_validation_users(self) -> "PreparedData":
    """Returns the same data with validation users among the training users.

    Raises:
      ValueError: The records hold windows, not sequences.
    """
    self._require_sequences()
    added = records.read_sequences(self._shards("validate")).item_ids
    counts = self.catalogue.counts + np.bincount(
      added - 1, minlength=self.catalogue.num_items
    )
    return dataclasses.replace(
      self,
      catalogue=dataclasses.replace(self.catalogue, counts=counts),
      training_splits=(*self.training_splits, "validate"),
    )

  def train_sequences(self) -> records.Sequences:
    """Reads the events of all training users into memory.

    Raises:
      ValueError: The records hold windows, not sequences.
    """
    self._require_sequences()
    return records.read_sequences(
      [path for split in self.training_splits for path in self._shards(split)]
    )

  def _require_sequences(self) -> None:
    if not self._is_ours:
      raise ValueError(
        f"{self.root} holds the original's window records, wanted user"
        " sequences; run --job-type prepare_data on the csv, or train a scorer"
        " that counts nothing, such as --scorer attention"
      )

  def train_histories(self, number: int, length: int, seed: int) -> np.ndarray:
    """Returns [n, length] int64: the first items of some training users.

    Args:
      number: Users, at most.
      length: L, items of a history.
      seed: Which users.

    Raises:
      ValueError: The records hold windows, not sequences.
    """
    sequences = self.train_sequences()
    num_users = len(sequences.row_splits) - 1
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(num_users)[:number]
    histories: np.ndarray = np.zeros((len(chosen), length), dtype=np.int64)
    for place, user in enumerate(chosen):
      begin, end = sequences.row_splits[user : user + 2]
      items = sequences.item_ids[begin : min(end, begin + length)]
      histories[place, : len(items)] = items
    return histories

  def training_data(
    self, batch_size: int, num_epochs: int, seed: int
  ) -> TrainingData:
    """Plans the training batches."""
    if not self._is_ours:
      return original_records.WindowTrainingData(
        paths.DatasetPaths(self.root).window_records("train"),
        int(self.meta["num_train_samples"]),
        batch_size,
        num_epochs,
        self.max_length,
        seed,
      )
    shards = [
      training_data.Shard(path, fact["events"], fact["windows"])
      for split in self.training_splits
      for path, fact in zip(
        self._shards(split), self.meta["shards"][split], strict=True
      )
    ]
    return training_data.SequenceTrainingData(
      shards,
      batch_size,
      num_epochs,
      self.max_length,
      int(self.meta["train_min_length"]),
      seed,
    )


_META_KEYS: Sequence[str] = (
  "num_item",
  "num_cate",
  "num_train_samples",
  "max_length",
)


def load(dataset_dir: pathlib.Path) -> PreparedData:
  """Opens a prepared data set.

  Raises:
    FileNotFoundError: The folder holds no prepared data set.
    ValueError: A file is damaged, foreign, or of another data set.
  """
  locations = paths.DatasetPaths(dataset_dir)
  meta = files.load_json(locations.meta, "prepare_data")
  missing = [key for key in _META_KEYS if key not in meta]
  if missing:
    raise ValueError(
      f"{locations.meta} lacks {', '.join(missing)}; run --job-type"
      " prepare_data again"
    )
  items = catalogue.load_catalogue(locations.items)
  if items.num_items != meta["num_item"]:
    raise ValueError(
      f"{locations.items} holds {items.num_items:,} items, ub_meta.json says"
      f" {meta['num_item']:,}; run --job-type prepare_data again"
    )
  return PreparedData(dataset_dir, meta, items)
