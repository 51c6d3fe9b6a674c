"""Reads a behavior csv into a table of clean events, and counts the rest.

The file is read as lines of text, so that a line number is exact whatever the
line holds; everything after is SQL, the same for each of `engines`. There is no
loop over rows.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from nann.data_provider.engines import BLANK, UNREADABLE, Engine, literal
from nann.data_provider.log_format import ID_COLUMNS, LogFormat

# Kinds of bad rows, in the order in which a row is examined.
MISSING_FIELD = "missing field"
EMPTY_ID = "empty id"
BAD_ID = "id is not an integer"
BAD_TIMESTAMP = "timestamp is not an integer"
OUTSIDE_WINDOW = "outside the time window"
BAD_KINDS = (
  UNREADABLE,
  MISSING_FIELD,
  EMPTY_ID,
  BAD_ID,
  BAD_TIMESTAMP,
  OUTSIDE_WINDOW,
)
OTHER_BEHAVIOR = "other behavior"
_INTEGER = r"^\s*[+-]?[0-9]+\s*$"


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


def load_events(
  engine: Engine,
  inputs: Sequence[pathlib.Path],
  layout: LogFormat,
  behaviors: Sequence[str],
  time_window: Sequence[int],
) -> RowCounts:
  """Reads the files once; makes the view `events` of the good rows.

  `events` has user_id, item_id, category_id (int64 or text), timestamp int64
  and line int64, which grows along the input.

  Args:
    engine: Runs the queries.
    inputs: The csv files.
    layout: What `log_format.inspect_log` found.
    behaviors: Kinds of behavior to keep; empty: all.
    time_window: (begin, end) in seconds, or empty.

  Returns:
    What was left out and why.
  """
  engine.read_lines(inputs)
  columns = _columns_sql(engine, layout, behaviors, time_window)
  fields = _fields_sql(engine, layout)
  engine.keep("log_rows", f"SELECT {columns} FROM ({fields} FROM lines)")
  engine.define(
    "events",
    "SELECT user_id, item_id, category_id, timestamp, line FROM log_rows"
    " WHERE problem IS NULL",
  )
  return _count(engine, inputs, layout)


def _fields_sql(engine: Engine, layout: LogFormat) -> str:
  text = "replace(text, '\"', '')" if layout.quoted else "text"
  columns = ("file", "text", *engine.carried, f"split({text}, ',') AS fields")
  return "SELECT " + ", ".join(columns)


def _columns_sql(
  engine: Engine,
  layout: LogFormat,
  behaviors: Sequence[str],
  time_window: Sequence[int],
) -> str:
  """Turns (file, text, fields) into typed columns and a `problem`.

  Trimming is slow, so it stands only where a row is already suspicious: the
  cast to an integer allows for spaces, and a CASE looks no further than its
  first true condition. Engines differ in which texts are integers to them (1.5,
  1e3, 0x10): what does not look the same as its integer is looked at again.
  """

  def field(name: str) -> str:
    if name not in layout.positions:
      return "'0'"  # One category, one kind of behavior.
    return f"try_element_at(fields, {layout.positions[name] + 1})"

  def not_integer(name: str) -> str:
    column, text = integer(name), field(name)
    return (
      f"{column} IS NULL OR (CAST({column} AS STRING) <> {text}"
      f" AND NOT regexp_like({text}, {literal(_INTEGER)}))"
    )

  def integer(name: str) -> str:
    return f"try_cast({field(name)} AS BIGINT)"

  columns = ["file", *engine.carried]
  absent = []
  for name in ID_COLUMNS:
    if layout.integer_ids[name]:
      columns.append(f"{integer(name)} AS {name}")
      absent.append(not_integer(name))
    else:
      columns.append(f"trim({field(name)}) AS {name}")
      absent.append(f"trim({field(name)}) = ''")
  columns.append(f"{integer('timestamp')} AS timestamp")
  short = f"array_size(fields) < {layout.num_fields}"
  any_absent = " OR ".join(absent)
  any_empty = " OR ".join(f"trim({field(name)}) = ''" for name in ID_COLUMNS)
  cases = [
    ("text IS NULL", engine.missing_text),
    (f"{short} AND trim(text) = ''", BLANK),
    (short, MISSING_FIELD),
    (f"({any_absent}) AND ({any_empty})", EMPTY_ID),
    (any_absent, BAD_ID),
    (not_integer("timestamp"), BAD_TIMESTAMP),
  ]
  if time_window:
    begin, end = time_window
    time = integer("timestamp")
    cases.append((f"{time} < {begin} OR {time} >= {end}", OUTSIDE_WINDOW))
  if behaviors:
    kept = ", ".join(literal(name) for name in behaviors)
    cases.append((f"trim({field('behavior')}) NOT IN ({kept})", OTHER_BEHAVIOR))
  whens = " ".join(
    f"WHEN {condition} THEN {literal(problem)}" for condition, problem in cases
  )
  columns.append(f"CASE {whens} END AS problem")
  return ", ".join(columns)


def _count(
  engine: Engine,
  inputs: Sequence[pathlib.Path],
  layout: LogFormat,
) -> RowCounts:
  """Counts the rows by what became of them; finds the first of each kind."""
  headers = (
    _columns(engine, "SELECT min(line) FROM log_rows GROUP BY file")[0]
    if layout.has_header
    else []
  )
  is_row = (
    f"line NOT IN ({', '.join(map(str, headers))})" if headers else "true"
  )
  kinds = _columns(
    engine,
    "SELECT problem, count(*), min(line), min_by(file, line) FROM log_rows"
    f" WHERE {is_row} GROUP BY problem",
  )
  unreadable = engine.unreadable()
  numbers: dict[str | None, int] = {}
  first_bad: dict[str, str] = {}
  for kind, number, row, file in zip(*kinds, strict=True):
    numbers[kind] = number
    if kind in BAD_KINDS:
      ((before,),) = _columns(
        engine,
        f"SELECT count(*) FROM log_rows WHERE file = {file} AND line < {row}",
      )
      place = before + 1
      for path, line in unreadable:
        # Lines that the reader has left out stand before it.
        place += int(path == inputs[file] and line <= place)
      first_bad[kind] = f"{inputs[file]}, line {place}"
  numbers.pop(BLANK, None)
  if unreadable:
    numbers[UNREADABLE] = len(unreadable)
    path, line = unreadable[0]
    first_bad[UNREADABLE] = f"{path}, line {line}"
  return RowCounts(
    num_rows=sum(numbers.values()),
    bad={kind: numbers[kind] for kind in BAD_KINDS if kind in numbers},
    first_bad=first_bad,
    num_other_behavior=numbers.get(OTHER_BEHAVIOR, 0),
  )


def _columns(engine: Engine, sql: str) -> list[list[Any]]:
  """Returns the columns of a small answer."""
  return [column.to_pylist() for column in engine.query(sql).columns]
