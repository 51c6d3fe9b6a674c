import pathlib

import numpy as np
import pytest

from nann.data_provider import synthetic, synthetic_statistics

FULL_SIZE = synthetic.SyntheticLog(4000, 4_162_024, 9439, seed=0)


def test_statistics_are_those_of_the_real_head() -> None:
  for name, (ours, real) in synthetic_statistics.compare_with_taobao(
    FULL_SIZE
  ).items():
    assert ours == pytest.approx(real, rel=0.12), name


def read(path: pathlib.Path) -> np.ndarray:
  return np.genfromtxt(path, delimiter=",", usecols=(0, 1, 2, 4), dtype=int)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
  path = tmp_path_factory.mktemp("log") / "log.csv"
  num_rows = synthetic.write_log(
    synthetic.SyntheticLog(300, 1000, 40, seed=3), path
  )
  rows = read(path)
  assert len(rows) == num_rows
  return rows


def test_times_grow_along_a_user_and_stay_in_the_window(
  log: np.ndarray,
) -> None:
  same_user = log[1:, 0] == log[:-1, 0]
  assert (np.diff(log[:, 3])[same_user] >= 0).all()
  assert log[:, 3].min() >= 1511539200
  assert log[:, 3].max() < 1512316800


def test_ids_are_in_range_and_an_item_has_one_category(
  log: np.ndarray,
) -> None:
  assert log[:, :3].min() >= 1
  assert log[:, 0].max() == 300
  assert log[:, 1].max() <= 1000
  assert log[:, 2].max() <= 40
  pairs = np.unique(log[:, 1:3], axis=0)
  assert len(pairs) == len(np.unique(log[:, 1]))


def test_seed_decides(log: np.ndarray, tmp_path: pathlib.Path) -> None:
  for seed, same in ((3, True), (4, False)):
    path = tmp_path / f"{seed}.csv"
    synthetic.write_log(synthetic.SyntheticLog(300, 1000, 40, seed), path)
    assert np.array_equal(read(path), log) == same


def test_compressed_log_holds_the_same(
  log: np.ndarray, tmp_path: pathlib.Path
) -> None:
  path = tmp_path / "log.csv.gz"
  synthetic.write_log(synthetic.SyntheticLog(300, 1000, 40, seed=3), path)
  assert path.read_bytes()[:2] == b"\x1f\x8b"
  assert np.array_equal(read(path), log)


@pytest.mark.parametrize(("items", "categories"), [(1, 1), (7, 7), (50, 3)])
def test_tiny_worlds_can_be_made(
  tmp_path: pathlib.Path, items: int, categories: int
) -> None:
  path = tmp_path / "log.csv"
  synthetic.write_log(synthetic.SyntheticLog(20, items, categories, 0), path)
  rows = read(path)
  assert rows[:, 1].max() <= items
  assert rows[:, 2].max() <= categories
