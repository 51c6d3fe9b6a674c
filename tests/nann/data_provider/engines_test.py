"""The engines of data preparation give the same."""

import gzip
import importlib.util
import pathlib

import numpy as np
import pytest

from nann import config, paths
from nann.data_provider import engines, prepare
from tests.conftest import write_csv
from tests.nann.data_provider import behavior_log_test as log_test

with_spark = pytest.mark.skipif(
  importlib.util.find_spec("pyspark") is None,
  reason="PySpark is not installed: pip install '.[spark]'",
)


def write_messy_log(folder: pathlib.Path) -> list[pathlib.Path]:
  """Writes three files with a bad row of every kind in each but the last."""
  bad = (
    b"1,11,5,pv\n\n1,12,5,pv,noon\n,13,5,pv,100\nu7,13,5,pv,100\n1,13,5,pv,9\n"
    b"1,1.5,5,pv,100\n1,0x10,5,pv,100\n1,13,5,pv,1e2\n007, 5 ,+6,pv,150\n"
    b'"8","9", 6,"buy" ,151\n1,13,5,cart,120\r\n'
  )
  undecodable = b"1,11,5,p\xff\xfe,150\n"
  good = 80 * b"1,10,5,pv,100\n2,11,6,buy,101\n"
  plain, zipped, last = (folder / name for name in ("a.csv", "b.csv.gz", "c"))
  plain.write_bytes(good + undecodable + bad + good)
  zipped.write_bytes(gzip.compress(good + bad + good))
  last.write_bytes(good)
  return [plain, zipped, last]


@with_spark
@pytest.mark.slow
def test_spark_reads_what_duckdb_reads(tmp_path: pathlib.Path) -> None:
  inputs = write_messy_log(tmp_path)
  found = []
  for name in ("duckdb", "spark"):
    folder = tmp_path / name
    folder.mkdir()
    found.append(
      log_test.load_files(
        folder, inputs, None, ("pv", "buy"), (100, 200), engine_name=name
      )
    )
  assert len(found[0][0]) == 804
  assert found[0][1].num_bad == 17
  assert found[1] == found[0]


@with_spark
@pytest.mark.slow
def test_records_of_spark_are_those_of_duckdb(tmp_path: pathlib.Path) -> None:
  csv = write_csv(tmp_path / "log.csv", num_users=200, seed=3)
  lines = csv.read_text().splitlines()
  # Ties in time, one item seen with two categories, rows in random order.
  lines += ["7,777,3,pv,5"] * 2 + ["7,777,4,pv,5", "7,778,9,pv,5"]
  np.random.default_rng(0).shuffle(lines)
  half = len(lines) // 2
  inputs = tmp_path / "1.csv", tmp_path / "2.csv"
  for path, part in zip(inputs, (lines[:half], lines[half:]), strict=True):
    path.write_text("\n".join(part) + "\n")
  checksums = []
  for name in ("duckdb", "spark"):
    folder = tmp_path / name
    settings = config.DataSettings(
      input=tuple(map(str, inputs)), engine=name, spark_master="local[2]"
    )
    checksums.append(prepare.prepare(settings, folder, 5).meta["sha256"])
    # Nothing of the engine is left.
    kinds = {path.suffix for path in folder.iterdir()}
    assert kinds == {".tfrecords", ".npz", ".json"}
    assert paths.DatasetPaths(folder).shards("train")
  assert checksums[1] == checksums[0]


def test_missing_spark_says_what_to_install(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ValueError, match="pip install 'nann\\[spark\\]'"):
    engines.open_engine("spark", tmp_path, "1GB", "local[1]")


@with_spark
def test_bad_memory_limit_of_spark_is_refused(tmp_path: pathlib.Path) -> None:
  with pytest.raises(ValueError, match="--memory-limit is 'much'"):
    engines.open_engine("spark", tmp_path, "much", "local[1]")
