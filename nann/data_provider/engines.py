"""What runs the SQL of data preparation: one machine's engine, or a cluster's.

The expressions are the same text for all engines; they keep to what all of them
understand. An engine differs from another in how it reads lines, where it keeps
tables and how it hands rows over. Rows come as Arrow tables, never one by one.
"""

import importlib
import importlib.util
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import pyarrow as pa

# What a line without text is.
BLANK = "blank line"
UNREADABLE = "not readable as UTF-8 text"
_MODULES = {
  "duckdb": "nann.data_provider.duckdb_engine",
  "spark": "nann.data_provider.spark_engine",
}


class Engine(Protocol):
  """Runs SQL over tables that it keeps.

  Attributes:
    carried: Columns of `lines` beside file and text, which what is made of it
      takes along.
    missing_text: What a line without text is: BLANK or UNREADABLE.
  """

  carried: tuple[str, ...]
  missing_text: str

  def read_lines(self, inputs: Sequence[pathlib.Path]) -> None:
    """Makes `lines`: file, the number of the input, and text, a line of it."""

  def keep(self, name: str, sql: str) -> None:
    """Runs a query once and keeps its rows under a name.

    They get a column line, int64, which grows along the input.
    """

  def unreadable(self) -> list[tuple[pathlib.Path, int]]:
    """Returns file and number, in order, of lines that `lines` lacks."""

  def define(self, name: str, sql: str) -> None:
    """Gives a query a name; it is run when it is used."""

  def query(self, sql: str) -> pa.Table:
    """Runs a query; its rows fit into memory."""

  def stream(self, sql: str) -> Iterator[pa.RecordBatch]:
    """Runs a query; yields its rows in order, a part at a time."""

  def register(self, name: str, table: pa.Table) -> None:
    """Makes rows of ours a table."""

  def close(self) -> None:
    """Frees everything."""


def open_engine(
  name: str, folder: pathlib.Path, memory_limit: str, spark_master: str
) -> Engine:
  """Opens an engine.

  Args:
    name: duckdb or spark.
    folder: Where it keeps tables and what does not fit into memory.
    memory_limit: Such as 4GB.
    spark_master: Where Spark runs.

  Raises:
    ValueError: It is not installed, or the limit is no size.
  """
  if name == "spark" and importlib.util.find_spec("pyspark") is None:
    raise ValueError(
      "--engine spark needs PySpark; pip install 'nann[spark]', and Java 17"
    )
  module: Any = importlib.import_module(_MODULES[name])
  engine: Engine = module.open_engine(folder, memory_limit, spark_master)
  return engine


def literal(value: object) -> str:
  """Returns a text as SQL has it."""
  return "'" + str(value).replace("'", "''") + "'"
