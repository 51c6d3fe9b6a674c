"""Reads a behavior csv into a table of clean events, and counts the rest.

The file is read as lines of text, so that a line number is exact whatever the
line holds; everything after is SQL, run by an embedded columnar engine (DuckDB)
that spills to disk when memory is short. There is no loop over rows.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import duckdb

from nann.data_provider.log_format import ID_COLUMNS, LogFormat

# Kinds of bad rows, in the order in which a row is examined.
MISSING_FIELD = "missing field"
EMPTY_ID = "empty id"
BAD_ID = "id is not an integer"
BAD_TIMESTAMP = "timestamp is not an integer"
OUTSIDE_WINDOW = "outside the time window"
UNREADABLE = "not readable as UTF-8 text"
BAD_KINDS = (
  UNREADABLE,
  MISSING_FIELD,
  EMPTY_ID,
  BAD_ID,
  BAD_TIMESTAMP,
  OUTSIDE_WINDOW,
)
OTHER_BEHAVIOR = "other behavior"
BLANK = "blank line"


@dataclasses.dataclass(frozen=True)
class RowCounts:
  """What became of the rows of the log.

  Attributes:
    num_rows: Lines that were examined (no header, no blank line).
    bad: Count of each kind of bad row.
    first_bad: "file, line n" of the first bad row of each kind.
    num_other_behavior: Good rows left out by the choice of behaviors.
  """

  num_rows: int
  bad: dict[str, int]
  first_bad: dict[str, str]
  num_other_behavior: int

  @property
  def num_bad(self) -> int:
    return sum(self.bad.values())


def connect(
  folder: pathlib.Path, memory_limit: str
) -> duckdb.DuckDBPyConnection:
  """Opens an embedded engine that keeps its tables and spills in `folder`."""
  connection = duckdb.connect(str(folder / "events.duckdb"))
  try:
    connection.execute(f"SET memory_limit = {_literal(memory_limit)}")
  except duckdb.Error as error:
    raise ValueError(
      f"--memory-limit is {memory_limit!r}, wanted a size such as 4GB"
    ) from error
  connection.execute(f"SET temp_directory = {_literal(folder / 'spill')}")
  return connection


def _literal(value: object) -> str:
  return "'" + str(value).replace("'", "''") + "'"


def load_events(
  connection: duckdb.DuckDBPyConnection,
  inputs: Sequence[pathlib.Path],
  layout: LogFormat,
  behaviors: Sequence[str],
  time_window: Sequence[int],
) -> RowCounts:
  """Reads the files once; makes the view `events` of the good rows.

  `events` has user_id, item_id, category_id (int64 or text), timestamp int64
  and line int64, which grows along the input.

  Args:
    connection: The engine.
    inputs: The csv files.
    layout: What `log_format.inspect_log` found.
    behaviors: Kinds of behavior to keep; empty: all.
    time_window: (begin, end) in seconds, or empty.

  Returns:
    What was left out and why.
  """
  lines = " UNION ALL ".join(
    _lines_sql(number, path) for number, path in enumerate(inputs)
  )
  connection.execute(
    f"CREATE TABLE log_rows AS {_parse_sql(layout, behaviors, time_window)}"
    f" FROM ({_fields_sql(layout)} FROM ({lines}))"
  )
  # The engine keeps the order of insertion; its row id is the line's place.
  connection.execute(
    "CREATE VIEW events AS SELECT user_id, item_id, category_id, timestamp,"
    " rowid AS line FROM log_rows WHERE problem IS NULL"
  )
  return _count(connection, inputs, layout)


def _lines_sql(number: int, path: pathlib.Path) -> str:
  """Every line of a file as it is: (file, text)."""
  return (
    f"SELECT {number}::SMALLINT AS file, text FROM read_csv({_literal(path)},"
    " columns = {'text': 'VARCHAR'}, header = false, auto_detect = false,"
    # A separator that no text holds: the line stays whole.
    " delim = '\x1f', quote = '', escape = '', strict_mode = false,"
    " store_rejects = true)"
  )


def _fields_sql(layout: LogFormat) -> str:
  text = "replace(text, '\"', '')" if layout.quoted else "text"
  return f"SELECT file, text, str_split({text}, ',') AS fields"


def _parse_sql(
  layout: LogFormat, behaviors: Sequence[str], time_window: Sequence[int]
) -> str:
  """Turns (file, text, fields) into typed columns and a `problem`.

  Trimming is slow, so it stands only where a row is already suspicious: the
  cast to an integer allows for spaces, and a CASE looks no further than its
  first true condition.
  """

  def field(name: str) -> str:
    if name not in layout.positions:
      return "'0'"  # One category, one kind of behavior.
    return f"fields[{layout.positions[name] + 1}]"

  columns = ["file"]
  absent = []
  for name in ID_COLUMNS:
    if layout.integer_ids[name]:
      columns.append(f"try_cast({field(name)} AS BIGINT) AS {name}")
      absent.append(f"{name} IS NULL")
    else:
      columns.append(f"trim({field(name)}) AS {name}")
      absent.append(f"{name} = ''")
  columns.append(f"try_cast({field('timestamp')} AS BIGINT) AS timestamp")
  short = f"len(fields) < {layout.num_fields}"
  any_absent = " OR ".join(absent)
  any_empty = " OR ".join(f"trim({field(name)}) = ''" for name in ID_COLUMNS)
  cases = [
    # The reader gives no text for a blank line, nor for one it cannot decode.
    ("text IS NULL", BLANK),
    (f"{short} AND trim(text) = ''", BLANK),
    (short, MISSING_FIELD),
    (f"({any_absent}) AND ({any_empty})", EMPTY_ID),
    (any_absent, BAD_ID),
    ("timestamp IS NULL", BAD_TIMESTAMP),
  ]
  if time_window:
    begin, end = time_window
    cases.append((f"timestamp < {begin} OR timestamp >= {end}", OUTSIDE_WINDOW))
  if behaviors:
    kept = ", ".join(_literal(name) for name in behaviors)
    cases.append((f"trim({field('behavior')}) NOT IN ({kept})", OTHER_BEHAVIOR))
  whens = " ".join(
    f"WHEN {condition} THEN {_literal(problem)}" for condition, problem in cases
  )
  columns.append(f"CASE {whens} END AS problem")
  return "SELECT " + ", ".join(columns)


def _count(
  connection: duckdb.DuckDBPyConnection,
  inputs: Sequence[pathlib.Path],
  layout: LogFormat,
) -> RowCounts:
  """Counts the rows by what became of them; finds the first of each kind."""
  begins = dict(
    connection.execute(
      "SELECT file, min(rowid) FROM log_rows GROUP BY file"
    ).fetchall()
  )
  headers = list(begins.values()) if layout.has_header else []
  kinds = connection.execute(
    "SELECT problem, count(*), min(rowid), arg_min(file, rowid) FROM log_rows"
    " WHERE NOT list_contains(?::BIGINT[], rowid) GROUP BY problem",
    [headers],
  ).fetchall()
  unreadable = connection.execute(
    "SELECT DISTINCT scan_id, file_id, line, file_path FROM reject_errors JOIN"
    " reject_scans USING (scan_id, file_id) ORDER BY ALL"
  ).fetchall()
  numbers: dict[str | None, int] = {}
  first_bad: dict[str, str] = {}
  for kind, number, row, file in kinds:
    numbers[kind] = number
    if kind in BAD_KINDS:
      first_bad[kind] = f"{inputs[file]}, line {row - begins[file] + 1}"
  numbers.pop(BLANK, None)
  if unreadable:
    numbers[UNREADABLE] = len(unreadable)
    _, _, line, path = unreadable[0]
    first_bad[UNREADABLE] = f"{path}, line {line}"
  return RowCounts(
    num_rows=sum(numbers.values()),
    bad={kind: numbers[kind] for kind in BAD_KINDS if kind in numbers},
    first_bad=first_bad,
    num_other_behavior=numbers.get(OTHER_BEHAVIOR, 0),
  )
