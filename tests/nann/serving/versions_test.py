"""Which versions are loaded, swapped, refused and freed."""

import pathlib
import shutil
import threading

import pytest

from nann.serving.errors import Code, ServingError
from nann.serving.versions import Versions, load_and_warm_up
from tests.nann.serving import small_export
from tests.nann.serving.waiting import wait_until


class FakeModel:
  """Says only who it is; files of its folder may forbid to load it."""

  def __init__(self, folder: pathlib.Path, version: int) -> None:
    if not (folder / "good").exists():
      raise ValueError("there is nothing good in it")
    self.version = version
    self.is_closed = False

  def close(self) -> None:
    self.is_closed = True


class World:
  """A base path of fake versions, and what was told about them."""

  def __init__(self, base_path: pathlib.Path, **labels: int) -> None:
    self.base_path = base_path
    self.told: list[str] = []
    self.versions = Versions(base_path, labels, self.told.append, FakeModel)

  def publish(self, *numbers: int | str, is_good: bool = True) -> None:
    for number in numbers:
      folder = self.base_path / str(number)
      folder.mkdir(parents=True)
      if is_good:
        (folder / "good").touch()

  def refresh(self, *expected: tuple[int, str]) -> None:
    """Refreshes; compares versions and states."""
    self.versions.refresh()
    found = [(x.version, x.state) for x in self.versions.statuses()]
    assert found == list(expected)

  def answering(self, **spec: object) -> int:
    with self.versions.use(**spec) as model:
      assert not model.is_closed
      return model.version


@pytest.fixture
def world(tmp_path: pathlib.Path) -> World:
  return World(tmp_path / "base")


def refusal(world: World, **spec: object) -> tuple[Code, str]:
  with pytest.raises(ServingError) as caught:
    world.answering(**spec)
  return caught.value.code, caught.value.message


def test_without_version_nothing_is_available(world: World) -> None:
  world.refresh()
  assert refusal(world) == (Code.UNAVAILABLE, "no version has been loaded yet")


def test_newest_is_served_and_nothing_else(world: World) -> None:
  world.publish(2, 10, "latest", ".11-x", "-3", "²", str(2**64))
  world.refresh((10, "AVAILABLE"))
  assert world.answering() == world.answering(version=10) == 10
  assert refusal(world, version=2) == (
    Code.NOT_FOUND,
    "version 2 is not loaded; loaded: 10",
  )


def test_new_version_replaces_the_old(world: World) -> None:
  world.publish(1)
  world.refresh((1, "AVAILABLE"))
  with world.versions.use() as old:
    pass
  world.publish(2)
  world.refresh((2, "AVAILABLE"))
  assert world.answering() == 2
  assert old.is_closed
  assert "version 2 answers, 1 did before" in world.told


def test_old_version_lives_until_its_last_request_ends(world: World) -> None:
  world.publish(1)
  world.refresh((1, "AVAILABLE"))
  with world.versions.use() as old:
    world.publish(2)
    swap = threading.Thread(target=world.versions.refresh)
    swap.start()
    wait_until(lambda: world.versions.current == 2)
    assert world.answering() == 2
    wait_until(
      lambda: (
        [x.state for x in world.versions.statuses()]
        == ["AVAILABLE", "UNLOADING"]
      )
    )
    assert not old.is_closed
  swap.join()
  assert old.is_closed
  world.refresh((2, "AVAILABLE"))


def test_broken_version_is_refused_and_the_old_one_stays(world: World) -> None:
  world.publish(1)
  world.refresh((1, "AVAILABLE"))
  world.publish(2, is_good=False)
  world.refresh((2, "END"), (1, "AVAILABLE"))
  assert world.answering() == 1
  reason = world.versions.statuses()[0].reason
  assert reason == "there is nothing good in it"
  told = len(world.told)
  world.refresh((2, "END"), (1, "AVAILABLE"))
  assert len(world.told) == told, "it is tried again only when it changes"
  (world.base_path / "2" / "good").touch()
  world.refresh((2, "AVAILABLE"))
  assert world.answering() == 2


def test_at_start_an_older_one_stands_in_for_a_broken_one(world: World) -> None:
  world.publish(1, 2)
  world.publish(3, is_good=False)
  world.refresh((3, "END"), (2, "AVAILABLE"))


def test_deleting_the_newest_rolls_back(world: World) -> None:
  world.publish(1, 2)
  world.refresh((2, "AVAILABLE"))
  shutil.rmtree(world.base_path / "2")
  world.refresh((1, "AVAILABLE"))
  assert world.answering() == 1


def test_deleting_all_keeps_the_last_one(world: World) -> None:
  world.publish(1)
  world.refresh((1, "AVAILABLE"))
  shutil.rmtree(world.base_path)
  world.refresh((1, "AVAILABLE"))
  assert world.answering() == 1


def test_deleted_broken_version_is_forgotten(world: World) -> None:
  world.publish(1)
  world.publish(2, is_good=False)
  world.refresh((2, "END"), (1, "AVAILABLE"))
  shutil.rmtree(world.base_path / "2")
  world.refresh((1, "AVAILABLE"))


def test_labels_keep_their_versions(tmp_path: pathlib.Path) -> None:
  world = World(tmp_path / "base", stable=1, canary=5)
  world.publish(1, 2, 3)
  world.refresh((3, "AVAILABLE"), (1, "AVAILABLE"))
  assert world.answering(label="stable") == 1
  assert world.answering() == 3
  assert refusal(world, label="canary") == (
    Code.NOT_FOUND,
    "version 5 is not loaded; loaded: 1, 3",
  )
  assert refusal(world, label="x")[1] == "there is no version label 'x'"
  world.publish(5)
  world.refresh((5, "AVAILABLE"), (1, "AVAILABLE"))
  assert world.answering(label="canary") == 5


def test_closing_frees_all(world: World) -> None:
  world.publish(1)
  world.refresh((1, "AVAILABLE"))
  with world.versions.use() as model:
    pass
  world.versions.close()
  assert model.is_closed
  assert refusal(world)[0] == Code.UNAVAILABLE


@pytest.mark.parametrize(
  ("damage", "reason"),
  [
    (lambda folder: (folder / "saved_model.pb").unlink(), "is missing"),
    (
      lambda folder: (folder / "saved_model.pb").write_bytes(b"\x08\x01x"),
      "saved_model.pb cannot be loaded: Read less bytes",
    ),
    (
      lambda folder: (folder / "saved_model.pb").write_bytes(b""),
      "meta graph def matching supplied tags",
    ),
    (
      lambda folder: small_export.write_warm_up(
        folder, small_export.history(1)[0]
      ),
      "warm-up request 0: input 'history_item_ids' has shape",
    ),
    (
      lambda folder: (
        folder / "assets.extra/tf_serving_warmup_requests"
      ).write_bytes(b"no record" * 9),
      "warm-up request 0: corrupted record",
    ),
  ],
)
def test_damaged_export_is_refused_with_its_reason(
  tmp_path: pathlib.Path, damage: object, reason: str
) -> None:
  versions = Versions(tmp_path, {}, lambda message: None, load_and_warm_up)
  small_export.publish(tmp_path, 1)
  versions.refresh()
  damage(small_export.publish(tmp_path, 2))
  versions.refresh()
  broken, good = versions.statuses()
  assert (broken.state, good.state) == ("END", "AVAILABLE")
  assert reason in broken.reason
  assert "\n" not in broken.reason
  assert versions.current == 1
  versions.close()
