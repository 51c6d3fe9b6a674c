import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from nann import paths
from nann.delivery import arrays, delivery, publishing, verify
from tests.nann.delivery import models


@pytest.fixture
def target(tmp_path: pathlib.Path) -> paths.ExportPaths:
  return paths.ExportPaths(tmp_path / "export")


def put(staged: publishing.Staging, *names: str) -> None:
  """Writes the least that a version has."""
  for name in names:
    for folder in (staged.files.assets, staged.saved_model / paths.ASSETS):
      (folder / name).write_text(name)
  (staged.saved_model / paths.SAVED_MODEL).write_text(" ".join(names))
  staged.files.exec_graph.write_text(" ".join(names))


def shown(target: paths.ExportPaths) -> list[str]:
  return sorted(path.name for path in target.versions.iterdir())


def test_versions_count_up(target: paths.ExportPaths) -> None:
  for asked, wanted in ((0, ["1"]), (7, ["1", "7"]), (0, ["1", "7", "8"])):
    with publishing.staging(target, asked) as staged:
      put(staged, "a.npy")
      assert shown(target) == wanted[:-1]
      publishing.publish(staged, target)
    assert shown(target) == wanted
  assert not list(target.root.glob(".staging-*"))


def test_version_that_exists_is_refused(target: paths.ExportPaths) -> None:
  target.version(3).mkdir(parents=True)
  with (
    pytest.raises(ValueError, match="version 3 is in .* already"),
    publishing.staging(target, 3),
  ):
    pass


def fail(target: paths.ExportPaths) -> None:
  with publishing.staging(target, 0) as staged:
    put(staged, "a.npy")
    raise RuntimeError


def test_what_fails_is_not_published(target: paths.ExportPaths) -> None:
  with pytest.raises(RuntimeError):
    fail(target)
  assert shown(target) == []
  assert {path.name for path in target.root.iterdir()} == {"nann", ".lock"}


def test_leftovers_of_killed_exports_are_removed(
  target: paths.ExportPaths,
) -> None:
  leftover = target.root / ".staging-killed" / "version"
  leftover.mkdir(parents=True)
  with publishing.staging(target, 0):
    assert not leftover.exists()


def test_second_export_at_a_time_is_refused(target: paths.ExportPaths) -> None:
  with (
    publishing.staging(target, 0),
    pytest.raises(ValueError, match="another export to"),
    publishing.staging(target, 0),
  ):
    pass


def test_arrays_of_the_former_graph_go_last(target: paths.ExportPaths) -> None:
  for names in (["a.npy", "b.npy"], ["b.npy", "c.npy"]):
    with publishing.staging(target, 0) as staged:
      put(staged, *names)
      publishing.publish(staged, target)
  found = sorted(path.name for path in target.assets.iterdir())
  assert found == ["b.npy", "c.npy"]
  assert target.exec_graph.read_text() == "b.npy c.npy"
  # An older version keeps its own.
  assert (target.version(1) / paths.ASSETS / "a.npy").exists()


@pytest.fixture(scope="module")
def serving() -> models.Serving:
  return models.serving()


def test_versions_share_their_arrays(
  target: paths.ExportPaths, serving: models.Serving
) -> None:
  first, second = (models.Exported(target.root, serving) for _ in range(2))
  assert second.version == target.version(2)
  folders = [
    target.assets,
    *(x.version / paths.ASSETS for x in (first, second)),
  ]
  for path in target.assets.glob("*.npy"):
    assert len({(folder / path.name).stat().st_ino for folder in folders}) == 1


def test_arrays_are_copied_where_links_fail(
  target: paths.ExportPaths,
  serving: models.Serving,
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  def refuse(source: pathlib.Path, target: pathlib.Path) -> None:
    raise OSError

  monkeypatch.setattr(os, "link", refuse)
  made = models.Exported(target.root, serving)
  for path in target.assets.glob("*.npy"):
    other = made.version / paths.ASSETS / path.name
    assert other.read_bytes() == path.read_bytes()
    assert other.stat().st_ino != path.stat().st_ino


def test_damaged_array_is_not_taken_over(
  target: paths.ExportPaths, serving: models.Serving
) -> None:
  made = models.Exported(target.root, serving)
  path = max(target.assets.glob("*.npy"), key=lambda p: p.stat().st_size)
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  # In place: all names of the file show it.
  path.write_bytes(content)
  again = models.Exported(target.root, serving)
  verify.check_assets(again.version / paths.ASSETS)
  with pytest.raises(ValueError, match="is not the file that was written"):
    verify.check_assets(made.version / paths.ASSETS)


def test_tampered_model_is_not_published(
  target: paths.ExportPaths, serving: models.Serving
) -> None:
  raw = models.to_raw(models.histories(2))
  with publishing.staging(target, 0) as staged:
    delivery.write(delivery.build(serving), staged, [])
    path = next(staged.files.assets.glob("item_state_0*.npy"))
    array = np.load(path)
    array[3] += 1
    np.save(path, array)
    # The checksums are made to fit: now the answers tell.
    sums = arrays.checksums(staged.files.assets)
    for folder in (staged.files.assets, staged.saved_model / paths.ASSETS):
      delivery.files.save_json(folder / "arrays.json", sums)
    retriever = serving.retriever
    state = retriever.user_state(tf.constant(models.histories(2)[:1]))
    rows = tf.range(10)
    case = verify.Case(
      "score",
      {
        "history_item_ids": raw[:1],
        "item_ids": models.names_of(serving, rows.numpy()[None]),
      },
      {"scores": retriever.score_rows(state, rows).numpy()},
    )
    with pytest.raises(
      ValueError, match="not published: exec.pb answers request 0 of score with"
    ):
      verify.in_fresh_process(
        [case], staged.files, staged.saved_model, staged.files.root / "x.npz"
      )
