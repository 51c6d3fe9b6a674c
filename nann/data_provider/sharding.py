"""Cuts a sorted stream of events into users and writes them as shards."""

import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from nann import config, paths
from nann.data_provider import records, splits


def _take(stream: Iterator[np.ndarray]) -> Callable[[int], np.ndarray]:
  """Returns a function that gives the next n elements of a stream."""
  rest: np.ndarray = np.zeros(0, dtype=np.int32)

  def take(number: int) -> np.ndarray:
    nonlocal rest
    parts: list[np.ndarray] = []
    missing = number
    while missing > len(rest):
      parts.append(rest)
      missing -= len(rest)
      rest = next(stream)
    parts.append(rest[:missing])
    rest = rest[missing:]
    return np.concatenate(parts)

  return take


def write_records(
  folder: pathlib.Path,
  stream: Iterator[np.ndarray],
  settings: config.DataSettings,
  user_ids: np.ndarray,
  num_events: np.ndarray,
  chosen: splits.Splits,
  num_items: int,
) -> tuple[np.ndarray, dict[str, list[dict[str, int]]]]:
  """Cuts the stream into users and writes them, shard after shard.

  Args:
    folder: Folder of the records.
    stream: Items of all users in the order of their places.
    settings: Lengths and number of shards.
    user_ids: [U] raw ids, and
    num_events: [U] events, of each user.
    chosen: Their splits and places.
    num_items: I.

  Returns:
    counts: [I] float64, events of training users by item.
    shards: For each split: users, events and windows of each of its files.
  """
  take = _take(stream)
  members = np.flatnonzero(chosen.place >= 0)
  members = members[np.argsort(chosen.place[members])]
  counts = np.zeros(num_items + 1, dtype=np.int64)
  shards: dict[str, list[dict[str, int]]] = {}
  for part, split in enumerate(paths.SPLITS):
    shards[split] = []
    of_part = members[chosen.part[members] == part]
    num_shards = settings.num_shards if part == splits.TRAIN else 1
    num_shards = max(1, min(num_shards, len(of_part)))
    for number, users in enumerate(np.array_split(of_part, num_shards)):
      lengths = num_events[users]
      item_ids = take(int(lengths.sum()))
      begins = np.cumsum(lengths) - lengths
      windows = 0
      if part == splits.TRAIN:
        counts += np.bincount(item_ids, minlength=num_items + 1)
        windows = int(np.maximum(lengths - settings.train_min_length, 0).sum())
        kept = lengths
      else:
        # The target is the last item; what came after it is not stored.
        kept = splits.target_position(lengths, settings.test_min_length) + 1
      path = paths.DatasetPaths(folder).shard(split, number, num_shards)
      records.write_shard(
        path, user_ids[users], item_ids, begins, begins + kept
      )
      shards[split].append(
        {"users": len(users), "events": int(kept.sum()), "windows": windows}
      )
  return counts[1:].astype(np.float64), shards
