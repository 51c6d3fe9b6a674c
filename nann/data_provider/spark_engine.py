"""Spark: the same queries on many machines, or on all cores of this one.

See `engines` for what an engine does. Inputs and the folder of the data set
must be where all machines see them.
"""

import os
import pathlib
import re
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession, functions

from nann.data_provider.engines import UNREADABLE

# Of `line`, from the left: the file, where the block that it is in begins in
# units of 4 MiB, its place among the lines that a task has read.
_BLOCK_BYTES = 1 << 22
_BLOCK_BITS, _PLACE_BITS = 20, 33
_LOCAL_PARTS_PER_CORE = 4
_SIZE = re.compile(r"(\d+)\s*([KMGT])i?B?", re.IGNORECASE)


class SparkEngine:
  """Keeps its tables on the disks of the machines that made them."""

  carried = ("line",)
  # Of the reader, a blank line has a text without characters.
  missing_text = UNREADABLE

  def __init__(self, session: SparkSession, folder: pathlib.Path) -> None:
    self._session, self._folder = session, folder
    self._kept: list[DataFrame] = []
    self._num_streams = 0

  def read_lines(self, inputs: Sequence[pathlib.Path]) -> None:
    parts = [self._lines_of(number, path) for number, path in enumerate(inputs)]
    lines = parts[0]
    for part in parts[1:]:
      lines = lines.unionAll(part)
    lines.createOrReplaceTempView("lines")

  def _lines_of(self, number: int, path: pathlib.Path) -> DataFrame:
    rows = self._session.read.text(str(path)).selectExpr(
      "value", f"_metadata.file_block_start div {_BLOCK_BYTES} AS block"
    )
    place = functions.monotonically_increasing_id()
    rows = rows.withColumn("place", place)
    return rows.selectExpr(
      f"CAST({number} AS SMALLINT) AS file",
      "CASE WHEN is_valid_utf8(value) THEN value END AS text",
      f"shiftleft(shiftleft(CAST({number} AS BIGINT), {_BLOCK_BITS}) + block,"
      f" {_PLACE_BITS}) + place % shiftleft(1L, {_PLACE_BITS}) AS line",
    )

  def keep(self, name: str, sql: str) -> None:
    rows = self._session.sql(sql).persist(StorageLevel.DISK_ONLY)
    rows.createOrReplaceTempView(name)
    self._kept.append(rows)

  def unreadable(self) -> list[tuple[pathlib.Path, int]]:
    return []

  def define(self, name: str, sql: str) -> None:
    self._session.sql(sql).createOrReplaceTempView(name)

  def query(self, sql: str) -> pa.Table:
    return self._session.sql(sql).toArrow()

  def stream(self, sql: str) -> Iterator[pa.RecordBatch]:
    # Sorted parts, in order by name.
    self._num_streams += 1
    folder = self._folder / f"stream-{self._num_streams}"
    self._session.sql(sql).write.parquet(str(folder))
    for path in sorted(folder.glob("part-*.parquet")):
      yield from pq.ParquetFile(path).iter_batches()

  def register(self, name: str, table: pa.Table) -> None:
    self._session.createDataFrame(table).createOrReplaceTempView(name)

  def close(self) -> None:
    for rows in self._kept:
      rows.unpersist()
    self._session.stop()


def open_engine(
  folder: pathlib.Path, memory_limit: str, spark_master: str
) -> SparkEngine:
  """Starts Spark. Raises ValueError if the limit is no size."""
  size = _SIZE.fullmatch(memory_limit.strip())
  if size is None:
    raise ValueError(
      f"--memory-limit is {memory_limit!r}, wanted a size such as 4GB"
    )
  builder = (
    SparkSession.builder.master(spark_master)
    .appName("nann prepare_data")
    .config("spark.driver.memory", f"{size[1]}{size[2].lower()}")
    .config("spark.local.dir", str(folder / "spill"))
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .config("spark.log.level", "ERROR")
    # Tables of ours go over as Arrow; text is what is between the quotes.
    .config("spark.sql.execution.arrow.pyspark.enabled", "true")
    .config("spark.sql.parser.escapedStringLiterals", "true")
    .config("spark.sql.ansi.enabled", "true")
  )
  if spark_master.startswith("local"):
    # Not the many of a cluster.
    parts = str(_LOCAL_PARTS_PER_CORE * (os.cpu_count() or 1))
    builder = builder.config("spark.sql.shuffle.partitions", parts)
  return SparkEngine(builder.getOrCreate(), folder)
