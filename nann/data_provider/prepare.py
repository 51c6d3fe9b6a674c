"""A behavior log becomes a prepared data set.

The order of things: clean events (behavior_log), who is held out (splits),
dense ids, one sorted stream of (user's place, item) that is written as records
while it arrives. Memory does not grow with the log, but for a few numbers per
user and per item.
"""

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from nann import config, files, paths
from nann.data_provider import (
  behavior_log,
  catalogue,
  engines,
  log_format,
  sharding,
  splits,
)

META_FORMAT = "nann-sequences-1"


@dataclasses.dataclass(frozen=True)
class Prepared:
  """What prepare_data reports.

  Attributes:
    rows: What became of the rows of the log.
    meta: Content of ub_meta.json.
    notes: Sentences on what the caller should know.
  """

  rows: behavior_log.RowCounts
  meta: dict[str, Any]
  notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Items:
  raw_ids: np.ndarray  # [I]
  category_ids: np.ndarray  # [I] int64
  raw_category_ids: np.ndarray  # [C]
  num_ambiguous: int


def prepare(
  settings: config.DataSettings,
  dataset_dir: pathlib.Path,
  seed: int,
  progress: Callable[[str], None] = lambda message: None,
) -> Prepared:
  """Writes a prepared data set into `dataset_dir`.

  Args:
    settings: What to read and how to split.
    dataset_dir: Folder to write to; it changes only when all is done.
    seed: Seed of the splits and of the order of the records.
    progress: Called with a sentence at the start of each stage.

  Raises:
    FileNotFoundError: An input is missing.
    ValueError: The log is empty, foreign, or has too many bad rows.
  """
  inputs = [pathlib.Path(name) for name in settings.input]
  column_names = dict(pair.split("=") for pair in settings.column_names)
  layout = log_format.inspect_log(inputs, column_names)
  dataset_dir.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(prefix=".prepare-", dir=dataset_dir) as name:
    work = pathlib.Path(name)
    engine = engines.open_engine(
      settings.engine, work, settings.memory_limit, settings.spark_master
    )
    try:
      progress("reading " + ", ".join(str(path) for path in inputs))
      rows = behavior_log.load_events(
        engine, inputs, layout, settings.behaviors, settings.time_window
      )
      _check_rows(rows, settings.max_bad_rows)
      progress("choosing users and numbering items")
      user_ids, num_events = _users(engine)
      items = _items(engine)
      chosen = splits.choose_splits(
        user_ids,
        num_events,
        settings.test_min_length,
        settings.num_test_users,
        settings.num_validation_users,
        seed,
        _given_test_users(settings.test_users, layout),
      )
      progress("sorting and writing records")
      counts, shards = sharding.write_records(
        work,
        _sorted_items(engine, user_ids, chosen, items),
        settings,
        user_ids,
        num_events,
        chosen,
        len(items.raw_ids),
      )
    finally:
      engine.close()
    catalogue.save_catalogue(
      paths.DatasetPaths(work).items,
      catalogue.Catalogue(
        items.category_ids, counts, items.raw_ids, items.raw_category_ids
      ),
    )
    meta = _meta(settings, seed, rows, items, shards)
    _publish(work, dataset_dir, meta)
  notes = list(chosen.notes)
  if items.num_ambiguous:
    notes.append(
      f"{items.num_ambiguous:,} items were seen with several categories; each"
      " keeps its most frequent one"
    )
  return Prepared(rows, meta, tuple(notes))


def _check_rows(rows: behavior_log.RowCounts, max_bad_rows: float) -> None:
  if rows.num_bad > max_bad_rows * rows.num_rows:
    kinds = "; ".join(
      f"{number:,} x {kind} (first: {rows.first_bad[kind]})"
      for kind, number in rows.bad.items()
    )
    raise ValueError(
      f"{rows.num_bad:,} of {rows.num_rows:,} rows are bad, more than"
      f" --max-bad-rows {max_bad_rows:g}: {kinds}"
    )
  if rows.num_rows == rows.num_bad + rows.num_other_behavior:
    raise ValueError(
      f"no row is left of {rows.num_rows:,}: {rows.num_bad:,} are bad,"
      f" {rows.num_other_behavior:,} have other behaviors than --behaviors"
    )


def _ids(column: pa.ChunkedArray) -> np.ndarray:
  """Returns raw ids as int64 or, for text, as fixed-length bytes."""
  if pa.types.is_integer(column.type):
    integers: np.ndarray = column.to_numpy()
    return integers
  return np.char.encode(column.to_numpy().astype(str), "utf-8")


def _users(engine: engines.Engine) -> tuple[np.ndarray, np.ndarray]:
  table = engine.query(
    "SELECT user_id, count(*) AS number FROM events GROUP BY user_id"
    " ORDER BY user_id"
  )
  return _ids(table["user_id"]), table["number"].to_numpy()


def _items(engine: engines.Engine) -> _Items:
  """Numbers items and categories, the most frequent item first.

  So that the rows a search or a training step touches most lie together. An
  item's category is its most frequent one; of equals, the smallest.
  """
  table = engine.query(
    """
    WITH pairs AS (
      SELECT item_id, category_id, count(*) AS number
      FROM events GROUP BY item_id, category_id
    ), ranked AS (
      SELECT item_id, category_id,
        row_number() OVER (
          PARTITION BY item_id ORDER BY number DESC, category_id
        ) AS place,
        sum(number) OVER (PARTITION BY item_id) AS total,
        count(*) OVER (PARTITION BY item_id) AS num_categories
      FROM pairs
    )
    SELECT item_id, category_id, num_categories FROM ranked
    WHERE place = 1 ORDER BY total DESC, item_id
    """
  )
  raw_categories, category_index = np.unique(
    _ids(table["category_id"]), return_inverse=True
  )
  return _Items(
    raw_ids=_ids(table["item_id"]),
    category_ids=category_index.astype(np.int64) + 1,
    raw_category_ids=raw_categories,
    num_ambiguous=int((table["num_categories"].to_numpy() > 1).sum()),
  )


def _given_test_users(
  name: str, layout: log_format.LogFormat
) -> np.ndarray | None:
  if not name:
    return None
  path = pathlib.Path(name)
  if not path.is_file():
    raise FileNotFoundError(f"{path} is no file; --test-users names raw ids")
  texts = path.read_text().split()
  if not texts:
    raise ValueError(f"{path} is empty; --test-users names a raw id a line")
  if not layout.integer_ids["user_id"]:
    return np.unique(np.char.encode(np.array(texts, dtype=str), "utf-8"))
  try:
    return np.unique(np.array([int(text) for text in texts], dtype=np.int64))
  except ValueError as error:
    raise ValueError(
      f"{path} holds {error.args[0].split(':')[-1].strip()}, but the log's user"
      " ids are integers"
    ) from error


def _arrow_ids(ids: np.ndarray) -> pa.Array:
  array = pa.array(ids)
  return array if ids.dtype.kind == "i" else array.cast(pa.string())


def _sorted_items(
  engine: engines.Engine,
  user_ids: np.ndarray,
  chosen: splits.Splits,
  items: _Items,
) -> Iterator[np.ndarray]:
  """Yields the item ids of all users, by place, then time, then input line."""
  used = chosen.place >= 0
  users = {"user_id": _arrow_ids(user_ids[used]), "place": chosen.place[used]}
  numbers = np.arange(1, len(items.raw_ids) + 1, dtype=np.int32)
  engine.register("user_places", pa.table(users))
  engine.register(
    "item_numbers",
    pa.table({"item_id": _arrow_ids(items.raw_ids), "number": numbers}),
  )
  for batch in engine.stream(
    "SELECT number FROM events JOIN user_places USING (user_id)"
    " JOIN item_numbers USING (item_id) ORDER BY place, timestamp, line"
  ):
    yield batch["number"].to_numpy()


def _meta(
  settings: config.DataSettings,
  seed: int,
  rows: behavior_log.RowCounts,
  items: _Items,
  shards: dict[str, list[dict[str, int]]],
) -> dict[str, Any]:
  """Returns the content of ub_meta.json; the original's keys come first."""

  def total(split: str, key: str) -> int:
    return sum(shard[key] for shard in shards[split])

  return {
    "num_item": len(items.raw_ids),
    "num_cate": len(items.raw_category_ids),
    "num_train_samples": total("train", "windows"),
    "num_train_user": total("train", "users"),
    "num_test_user": total("test", "users"),
    "num_validate_user": total("validate", "users"),
    "max_length": settings.max_length,
    "train_min_length": settings.train_min_length,
    "test_min_length": settings.test_min_length,
    "format": META_FORMAT,
    "seed": seed,
    "num_rows": rows.num_rows,
    "num_train_events": total("train", "events"),
    "bad_rows": rows.bad,
    "num_other_behavior": rows.num_other_behavior,
    "num_ambiguous_items": items.num_ambiguous,
    "shards": shards,
  }


def _publish(
  work: pathlib.Path, dataset_dir: pathlib.Path, meta: dict[str, Any]
) -> None:
  """Moves finished files into place; the meta file goes first and comes last.

  Without it a folder is no data set, so that nobody reads a mixture.
  """
  source, target = paths.DatasetPaths(work), paths.DatasetPaths(dataset_dir)
  finished = [source.items]
  for split in paths.SPLITS:
    finished += source.shards(split)
  meta["sha256"] = {path.name: files.checksum(path) for path in finished}
  target.meta.unlink(missing_ok=True)
  for split in paths.SPLITS:
    for stale in target.shards(split):
      stale.unlink()
  for path in finished:
    path.replace(dataset_dir / path.name)
  files.save_json(target.meta, meta)
