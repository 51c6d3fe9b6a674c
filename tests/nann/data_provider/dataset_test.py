import json
import pathlib
import shutil

import numpy as np
import pytest

from nann import paths
from nann.data_provider import catalogue, dataset
from tests.conftest import Run


@pytest.fixture
def data(small_run: Run, tmp_path: pathlib.Path) -> pathlib.Path:
  return shutil.copytree(small_run.dataset_dir, tmp_path / "data")


def test_history_ends_where_the_target_begins(data: pathlib.Path) -> None:
  prepared = dataset.load(data)
  held_out = prepared.held_out("test")
  assert held_out.histories.shape == (len(held_out), prepared.max_length)
  assert (held_out.targets > 0).all()
  # Oldest first, padding only at the end.
  present = held_out.histories > 0
  assert (np.diff(present.astype(int), axis=1) <= 0).all()
  assert present[:, 0].all()


def test_novel_targets_are_not_in_the_history() -> None:
  held_out = dataset.HeldOut(
    np.array([[1, 2, 0], [3, 0, 0]]), np.array([2, 4]), np.array([b"a", b"b"])
  )
  assert held_out.novel().tolist() == [False, True]


def test_validation_users_can_be_trained_on_too(data: pathlib.Path) -> None:
  prepared = dataset.load(data)
  joined = prepared.with_validation_users()
  sequences = joined.train_sequences()
  meta = prepared.meta
  num_users = meta["num_train_user"] + meta["num_validate_user"]
  assert meta["num_validate_user"] > 0
  assert len(sequences.row_splits) - 1 == num_users
  # Counted are the items of all these users, and of nobody else.
  counts = np.bincount(
    sequences.item_ids, minlength=joined.catalogue.num_items + 1
  )
  assert (joined.catalogue.counts == counts[1:]).all()
  assert counts.sum() > prepared.catalogue.counts.sum()
  # Their windows come in an epoch like the others'.
  windows = [shard["windows"] for shard in meta["shards"]["validate"]]
  more = joined.training_data(1, 1, seed=0).num_steps
  assert more - prepared.training_data(1, 1, seed=0).num_steps == sum(windows)


def test_missing_data_names_the_job(tmp_path: pathlib.Path) -> None:
  with pytest.raises(FileNotFoundError, match="run --job-type prepare_data"):
    dataset.load(tmp_path)


def test_changed_shard_is_refused(data: pathlib.Path) -> None:
  shard = paths.DatasetPaths(data).shards("test")[0]
  shard.write_bytes(shard.read_bytes()[:-1])
  with pytest.raises(ValueError, match="checksum differs"):
    dataset.load(data).held_out("test")


def test_missing_shard_is_refused(data: pathlib.Path) -> None:
  paths.DatasetPaths(data).shards("train")[0].unlink()
  with pytest.raises(ValueError, match="its ub_meta.json lists"):
    dataset.load(data).train_sequences()


def test_items_of_another_data_set_are_refused(data: pathlib.Path) -> None:
  meta = paths.DatasetPaths(data).meta
  content = json.loads(meta.read_text())
  meta.write_text(json.dumps({**content, "num_item": 5}))
  with pytest.raises(ValueError, match="ub_meta.json says 5"):
    dataset.load(data)


def test_foreign_meta_is_refused(data: pathlib.Path) -> None:
  paths.DatasetPaths(data).meta.write_text("{}")
  with pytest.raises(ValueError, match="lacks num_item"):
    dataset.load(data)


def test_truncated_items_are_refused(data: pathlib.Path) -> None:
  items = paths.DatasetPaths(data).items
  items.write_bytes(items.read_bytes()[:100])
  with pytest.raises(ValueError, match="is no item file"):
    dataset.load(data)


def test_item_ids_with_a_gap_are_refused(tmp_path: pathlib.Path) -> None:
  ones = np.ones(2)
  path = tmp_path / "ub_items.npz"
  np.savez(path, item_id=[1, 3], cate_id=[1, 1], weight_tag=ones)
  with pytest.raises(ValueError, match=r"item ids are not 1\.\.2"):
    catalogue.load_catalogue(path)


class TestOriginalData:
  """The original's files: one record a window."""

  def test_held_out_users_are_read(self, original: pathlib.Path) -> None:
    held_out = dataset.load(original / "data").held_out("test")
    users = np.load(original / "users.npz")
    assert (held_out.histories == users["item_ids"]).all()
    assert (held_out.targets == users["gt"]).all()

  def test_categories_of_the_items_are_those_of_the_records(
    self, original: pathlib.Path
  ) -> None:
    table = dataset.load(original / "data").catalogue.category_table()
    users = np.load(original / "users.npz")
    assert (table[users["item_ids"]] == users["cate_ids"]).all()

  def test_training_windows_come_in_batches_and_can_be_resumed(
    self, original: pathlib.Path
  ) -> None:
    data = dataset.load(original / "data").training_data(256, 2, seed=1)
    assert data.num_steps == 2 * (3000 // 256)

    def read(start: int) -> list[dict]:
      return [
        batch
        for part in data.batches(start)
        for batch in part.as_numpy_iterator()
      ]

    everything, rest = read(0), read(15)
    assert [batch["step"] for batch in everything] == list(range(22))
    for a, b in zip(everything[15:], rest, strict=True):
      assert (a["history"] == b["history"]).all()
      assert (a["target"] == b["target"]).all()

  def test_sequences_cannot_be_had(self, original: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="holds the original's window records"):
      dataset.load(original / "data").train_sequences()

  def test_validation_users_cannot_be_added(
    self, original: pathlib.Path
  ) -> None:
    with pytest.raises(ValueError, match="holds the original's window records"):
      dataset.load(original / "data").with_validation_users()
