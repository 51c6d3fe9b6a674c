import pathlib

import numpy as np
import pytest

from nann import files, manifest


def test_failed_write_leaves_the_old_file(tmp_path: pathlib.Path) -> None:
  path = tmp_path / "a.txt"
  path.write_text("old")

  def write() -> None:
    with files.written_whole(path) as temporary:
      temporary.write_text("half")
      raise RuntimeError

  with pytest.raises(RuntimeError):
    write()
  assert path.read_text() == "old"
  assert list(tmp_path.iterdir()) == [path]


def test_failed_folder_leaves_the_old_folder(tmp_path: pathlib.Path) -> None:
  folder = tmp_path / "index"
  folder.mkdir()
  (folder / "a").write_text("old")

  def write() -> None:
    with files.folder_written_whole(folder) as temporary:
      (temporary / "a").write_text("half")
      raise RuntimeError

  with pytest.raises(RuntimeError):
    write()
  assert (folder / "a").read_text() == "old"
  assert list(tmp_path.iterdir()) == [folder]


def test_finished_folder_replaces_the_old_one(tmp_path: pathlib.Path) -> None:
  folder = tmp_path / "index"
  for name in ("a", "b"):
    with files.folder_written_whole(folder) as temporary:
      (temporary / name).write_text(name)
  assert [path.name for path in folder.iterdir()] == ["b"]


def test_truncated_array_is_refused(tmp_path: pathlib.Path) -> None:
  path = tmp_path / "a.npy"
  files.save_array(path, np.arange(1000))
  path.write_bytes(path.read_bytes()[:-8])
  with pytest.raises(
    ValueError, match="truncated or no .npy file.*build_index"
  ):
    files.load_array(path, "build_index")


def test_foreign_array_is_refused(tmp_path: pathlib.Path) -> None:
  path = tmp_path / "a.npy"
  path.write_text("not an array")
  with pytest.raises(ValueError, match="truncated or no .npy file"):
    files.load_array(path, "build_index")


def test_empty_array_can_be_loaded(tmp_path: pathlib.Path) -> None:
  files.save_array(tmp_path / "a.npy", np.zeros(0, np.int32))
  assert files.load_array(tmp_path / "a.npy", "x").shape == (0,)


def test_missing_file_names_the_job(tmp_path: pathlib.Path) -> None:
  with pytest.raises(FileNotFoundError, match="run --job-type train"):
    files.load_array(tmp_path / "a.npy", "train")
  with pytest.raises(FileNotFoundError, match="run --job-type train"):
    files.load_json(tmp_path / "a.json", "train")


def test_broken_json_is_refused(tmp_path: pathlib.Path) -> None:
  (tmp_path / "a.json").write_text("{")
  with pytest.raises(ValueError, match="is no JSON file"):
    files.load_json(tmp_path / "a.json", "train")


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
  (tmp_path / "a").write_text("content")
  (tmp_path / "b").write_text("other")
  manifest.write_manifest(tmp_path, {"p": "1"}, {"n": 3})
  return tmp_path


def test_manifest_of_an_untouched_folder_holds(folder: pathlib.Path) -> None:
  content = manifest.check_manifest(folder, "x")
  assert content["facts"] == {"n": 3}
  assert set(content["files"]) == {"a", "b"}


@pytest.mark.parametrize(
  ("text", "message"),
  [("contenT", "checksum differs"), ("content!", "has 8 bytes")],
)
def test_changed_file_is_refused(
  folder: pathlib.Path, text: str, message: str
) -> None:
  (folder / "a").write_text(text)
  with pytest.raises(ValueError, match=message):
    manifest.check_manifest(folder, "build_index")


def test_removed_file_is_refused(folder: pathlib.Path) -> None:
  (folder / "b").unlink()
  with pytest.raises(FileNotFoundError, match="b is missing"):
    manifest.check_manifest(folder, "build_index")


def test_changed_parent_is_refused(folder: pathlib.Path) -> None:
  parent = folder / "a"
  content = {"parents": {"a": files.checksum(parent)}}
  manifest.check_parent(content, "a", parent, folder, "x")
  parent.write_text("new")
  with pytest.raises(ValueError, match="was made from another"):
    manifest.check_parent(content, "a", parent, folder, "x")
