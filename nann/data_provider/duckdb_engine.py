"""DuckDB: an embedded columnar engine that spills to disk when memory is short.

See `engines` for what an engine does.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence

import duckdb
import pyarrow as pa

from nann.data_provider.engines import BLANK, literal

_STREAM_ROWS = 1 << 20
# What other engines call it.
_MACROS = (
  "try_element_at(list, place) AS list[place]",
  "array_size(list) AS len(list)",
  "regexp_like(string, pattern) AS regexp_matches(string, pattern)",
)


class DuckDbEngine:
  """Keeps its tables in a file and spills beside it."""

  carried: tuple[str, ...] = ()
  # The reader gives no text for a blank line; one it cannot decode it rejects.
  missing_text = BLANK

  def __init__(
    self, connection: duckdb.DuckDBPyConnection, memory_limit: str
  ) -> None:
    self._connection = connection
    self._memory_limit = memory_limit

  def read_lines(self, inputs: Sequence[pathlib.Path]) -> None:
    self.define(
      "lines",
      " UNION ALL ".join(
        _lines_sql(number, path) for number, path in enumerate(inputs)
      ),
    )

  def keep(self, name: str, sql: str) -> None:
    with self._within_memory():
      self._connection.execute(f"CREATE TABLE {name}_rows AS {sql}")
    # The engine keeps the order of insertion; its row id is the line's place.
    self.define(name, f"SELECT *, rowid AS line FROM {name}_rows")

  def unreadable(self) -> list[tuple[pathlib.Path, int]]:
    found = self._connection.execute(
      "SELECT DISTINCT scan_id, file_id, line, file_path FROM reject_errors"
      " JOIN reject_scans USING (scan_id, file_id) ORDER BY ALL"
    ).fetchall()
    return [(pathlib.Path(path), line) for _, _, line, path in found]

  def define(self, name: str, sql: str) -> None:
    self._connection.execute(f"CREATE VIEW {name} AS {sql}")

  def query(self, sql: str) -> pa.Table:
    with self._within_memory():
      return self._connection.sql(sql).to_arrow_table()

  def stream(self, sql: str) -> Iterator[pa.RecordBatch]:
    with self._within_memory():
      yield from self._connection.sql(sql).to_arrow_reader(_STREAM_ROWS)

  def register(self, name: str, table: pa.Table) -> None:
    self._connection.register(name, table)

  def close(self) -> None:
    self._connection.close()

  @contextlib.contextmanager
  def _within_memory(self) -> Iterator[None]:
    """Says what to do where even spilling does not help."""
    try:
      yield
    except duckdb.OutOfMemoryException as error:
      reason = str(error).splitlines()[0]
      raise ValueError(
        f"--memory-limit {self._memory_limit} is too little for this log"
        f" ({reason}); give more: a billion rows want some GB"
      ) from error


def open_engine(
  folder: pathlib.Path, memory_limit: str, spark_master: str
) -> DuckDbEngine:
  """Opens the engine. Raises ValueError if the limit is no size."""
  del spark_master
  connection = duckdb.connect(str(folder / "events.duckdb"))
  try:
    connection.execute(f"SET memory_limit = {literal(memory_limit)}")
  except duckdb.Error as error:
    raise ValueError(
      f"--memory-limit is {memory_limit!r}, wanted a size such as 4GB"
    ) from error
  connection.execute(f"SET temp_directory = {literal(folder / 'spill')}")
  for macro in _MACROS:
    connection.execute(f"CREATE MACRO {macro}")
  return DuckDbEngine(connection, memory_limit)


def _lines_sql(number: int, path: pathlib.Path) -> str:
  """Every line of a file as it is: (file, text)."""
  return (
    f"SELECT {number}::SMALLINT AS file, text FROM read_csv({literal(path)},"
    " columns = {'text': 'VARCHAR'}, header = false, auto_detect = false,"
    # A separator that no text holds: the line stays whole.
    " delim = '\x1f', quote = '', escape = '', strict_mode = false,"
    " store_rejects = true)"
  )
