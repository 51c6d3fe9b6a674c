import collections
import dataclasses
import json
import pathlib

import numpy as np
import pytest

from nann import config, paths
from nann.data_provider import catalogue, dataset, prepare, records, splits
from tests.conftest import ROOT, run_python, write_csv


def settings_for(csv: pathlib.Path, **changed: object) -> config.DataSettings:
  return config.DataSettings(
    input=(str(csv),), num_shards=3, train_min_length=4, **changed
  )


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """A log in which users' rows are scattered and times tie."""
  folder = tmp_path_factory.mktemp("log")
  path = write_csv(folder / "log.csv", num_users=200, seed=3)
  lines = path.read_text().splitlines()
  # Ties in time, one item seen with two categories, rows in random order.
  lines += ["7,777,3,pv,5"] * 2 + ["7,777,4,pv,5", "7,778,9,pv,5"]
  np.random.default_rng(0).shuffle(lines)
  path.write_text("\n".join(lines) + "\n")
  return path


@pytest.fixture(scope="module")
def prepared(
  csv: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
  folder = tmp_path_factory.mktemp("data")
  prepare.prepare(settings_for(csv), folder, seed=5)
  return folder


def slow_sequences(csv: pathlib.Path) -> dict[int, list[int]]:
  """Raw user id -> raw item ids by (time, line): the plain version."""
  rows = collections.defaultdict(list)
  for line, text in enumerate(csv.read_text().splitlines()):
    user, item, _, _, time = text.split(",")
    rows[int(user)].append((int(time), line, int(item)))
  return {user: [row[2] for row in sorted(rows[user])] for user in rows}


def test_records_hold_every_user_in_time_order(
  csv: pathlib.Path, prepared: pathlib.Path
) -> None:
  slow = slow_sequences(csv)
  items = catalogue.load_catalogue(paths.DatasetPaths(prepared).items)
  seen = set()
  for split in paths.SPLITS:
    shards = paths.DatasetPaths(prepared).shards(split)
    sequences = records.read_sequences(shards)
    for user in range(len(sequences)):
      name = int(sequences.user_ids[user])
      seen.add(name)
      begin, end = sequences.row_splits[user : user + 2]
      raw = items.to_raw_item_ids(sequences.item_ids[begin:end])
      wanted = slow[name]
      if split != "train":
        wanted = wanted[: 7 + (len(wanted) - 7) // 2 + 1]
      assert raw.tolist() == wanted
  assert seen == set(slow)


def test_popularity_counts_training_users_only(
  csv: pathlib.Path, prepared: pathlib.Path
) -> None:
  train = records.read_sequences(paths.DatasetPaths(prepared).shards("train"))
  slow = slow_sequences(csv)
  counts = collections.Counter(
    item for name in train.user_ids for item in slow[int(name)]
  )
  items = catalogue.load_catalogue(paths.DatasetPaths(prepared).items)
  raw = items.to_raw_item_ids(np.arange(1, items.num_items + 1))
  assert [counts[item] for item in raw] == items.counts.tolist()


def test_items_are_numbered_by_frequency_and_map_both_ways(
  csv: pathlib.Path, prepared: pathlib.Path
) -> None:
  items = catalogue.load_catalogue(paths.DatasetPaths(prepared).items)
  counts = collections.Counter(
    item for sequence in slow_sequences(csv).values() for item in sequence
  )
  raw = items.to_raw_item_ids(np.arange(1, items.num_items + 1)).tolist()
  assert raw == sorted(counts, key=lambda item: (-counts[item], item))
  back = items.to_item_ids(np.array([*raw, 123456]))
  assert back.tolist() == [*range(1, len(raw) + 1), 0]


def test_ambiguous_item_keeps_its_most_frequent_category(
  csv: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  result = prepare.prepare(settings_for(csv), tmp_path, seed=5)
  items = catalogue.load_catalogue(paths.DatasetPaths(tmp_path).items)
  (item_id,) = items.to_item_ids(np.array([777]))
  category = items.category_ids[item_id - 1]
  assert items.raw_category_ids is not None
  assert items.raw_category_ids[category - 1] == 3
  assert result.meta["num_ambiguous_items"] == 1
  assert any("several categories" in note for note in result.notes)


def test_meta_counts_what_the_records_hold(prepared: pathlib.Path) -> None:
  meta = json.loads(paths.DatasetPaths(prepared).meta.read_text())
  train = records.read_sequences(paths.DatasetPaths(prepared).shards("train"))
  assert meta["num_train_user"] == len(train)
  assert meta["num_train_events"] == len(train.item_ids)
  windows = np.maximum(train.lengths() - 4, 0).sum()
  assert meta["num_train_samples"] == windows
  assert meta["num_test_user"] == len(dataset.load(prepared).held_out("test"))


def checksums(folder: pathlib.Path) -> dict[str, str]:
  return json.loads(paths.DatasetPaths(folder).meta.read_text())["sha256"]


def test_seed_decides_and_hash_seed_does_not(
  csv: pathlib.Path, prepared: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  wanted = {"sha256": checksums(prepared)}
  for hash_seed in ("1", "2"):
    folder = tmp_path / hash_seed
    done = run_python(
      str(ROOT / "main.py"),
      "--job-type=prepare_data",
      f"--input={csv}",
      f"--dataset-dir={folder}",
      "--num-shards=3",
      "--train-min-length=4",
      "--seed=5",
      PYTHONHASHSEED=hash_seed,
    )
    assert done.returncode == 0, done.stderr
    assert checksums(folder) == wanted["sha256"]
  prepare.prepare(settings_for(csv), tmp_path / "other", seed=6)
  assert checksums(tmp_path / "other") != wanted["sha256"]


def test_given_test_users_are_held_out(
  csv: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  names = tmp_path / "users.txt"
  names.write_text("17\n23\n42\n")
  settings = settings_for(csv, test_users=str(names))
  prepare.prepare(settings, tmp_path / "data", seed=5)
  held_out = dataset.load(tmp_path / "data").held_out("test")
  slow = slow_sequences(csv)
  long_enough = [user for user in (17, 23, 42) if len(slow[user]) > 7]
  assert sorted(int(name) for name in held_out.user_ids) == long_enough


@pytest.mark.parametrize(
  ("text", "message"),
  [("", "is empty"), ("17\nann\n", "'ann', but the log's user ids are")],
)
def test_bad_file_of_test_users_is_refused(
  csv: pathlib.Path, tmp_path: pathlib.Path, text: str, message: str
) -> None:
  names = tmp_path / "users.txt"
  names.write_text(text)
  settings = settings_for(csv, test_users=str(names))
  with pytest.raises(ValueError, match=message):
    prepare.prepare(settings, tmp_path / "data", seed=5)


def test_text_ids_come_out_as_they_went_in(tmp_path: pathlib.Path) -> None:
  csv = write_csv(tmp_path / "log.csv", num_users=60, seed=4)
  lines = [line.split(",") for line in csv.read_text().splitlines()]
  text = "".join(
    f"u-{user},sku/{item},{category},pv,{time}\n"
    for user, item, category, _, time in lines
  )
  csv.write_text(text)
  prepare.prepare(settings_for(csv), tmp_path / "data", seed=0)
  data = dataset.load(tmp_path / "data")
  names = data.held_out("test").user_ids
  assert all(name.startswith(b"u-") for name in names)
  assert data.catalogue.to_raw_item_ids(np.array([1]))[0].startswith(b"sku/")
  assert data.catalogue.to_item_ids(np.array([b"sku/none"]))[0] == 0


def test_too_many_bad_rows_stop_and_leave_nothing(
  csv: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  bad = tmp_path / "bad.csv"
  bad.write_text(csv.read_text() + "x,y,z,pv,now\n" * 200)
  with pytest.raises(ValueError, match="200 x id is not an integer"):
    prepare.prepare(settings_for(bad), tmp_path / "data", seed=0)
  assert list((tmp_path / "data").iterdir()) == []


def test_failed_run_keeps_the_former_data(
  csv: pathlib.Path, prepared: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  before = checksums(prepared)
  with pytest.raises(ValueError, match="no row is left"):
    prepare.prepare(settings_for(csv, behaviors=("buy",)), prepared, seed=0)
  assert checksums(prepared) == before
  dataset.load(prepared).held_out("test")


def test_new_run_leaves_no_stale_shard(
  csv: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  prepare.prepare(settings_for(csv), tmp_path, seed=0)
  settings = dataclasses.replace(settings_for(csv), num_shards=2)
  prepare.prepare(settings, tmp_path, seed=0)
  assert len(paths.DatasetPaths(tmp_path).shards("train")) == 2
  assert dataset.load(tmp_path).train_sequences().lengths().sum() > 0


def test_split_constants_match_the_file_names() -> None:
  order = (splits.TRAIN, splits.VALIDATE, splits.TEST)
  assert [paths.SPLITS[part] for part in order] == ["train", "validate", "test"]
