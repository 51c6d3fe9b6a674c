"""Finds out how a behavior csv is laid out from its first lines."""

import dataclasses
import gzip
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import IO

COLUMNS = ("user_id", "item_id", "category_id", "behavior", "timestamp")
ID_COLUMNS = ("user_id", "item_id", "category_id")
_REQUIRED = ("user_id", "item_id", "timestamp")
_SAMPLE_LINES = 10_000


@dataclasses.dataclass(frozen=True)
class LogFormat:
  """What a look at the first lines of the files tells.

  Attributes:
    positions: Field number of each of `COLUMNS` that is there.
    num_fields: Fields a line must have at least.
    has_header: The first line of every file holds names.
    integer_ids: Columns whose ids are integers (else text).
    quoted: Fields stand in double quotes.
  """

  positions: Mapping[str, int]
  num_fields: int
  has_header: bool
  integer_ids: Mapping[str, bool]
  quoted: bool


def _open_text(path: pathlib.Path) -> IO[str]:
  if path.suffix == ".gz":
    return gzip.open(path, "rt", encoding="utf-8", errors="replace")
  return open(path, encoding="utf-8", errors="replace")


def _first_lines(path: pathlib.Path) -> list[str]:
  if not path.is_file():
    raise FileNotFoundError(f"{path} is no file; --input names the csv to read")
  try:
    with _open_text(path) as file:
      return list(itertools.islice(file, _SAMPLE_LINES))
  except (OSError, EOFError) as error:
    raise ValueError(f"{path} cannot be read: {error}") from error


def _is_integer(text: str) -> bool:
  digits = text.strip().removeprefix("-")
  return digits.isascii() and digits.isdigit()


def inspect_log(
  inputs: Sequence[pathlib.Path], column_names: Mapping[str, str]
) -> LogFormat:
  """Finds out how the files are laid out from their first lines.

  Args:
    inputs: The csv files; all of one layout.
    column_names: Our name -> the header's name, where they differ.

  Raises:
    FileNotFoundError: A file is missing.
    ValueError: A file is empty, has too few columns, lacks a named column, or
      is laid out unlike the first.
  """
  samples = {path: _first_lines(path) for path in inputs}
  formats = {
    path: _inspect_sample(path, lines, column_names)
    for path, lines in samples.items()
  }
  first_path, first = next(iter(formats.items()))
  for path, other in formats.items():
    if (other.positions, other.has_header) != (
      first.positions,
      first.has_header,
    ):
      raise ValueError(
        f"{path} is laid out unlike {first_path}; convert them one by one"
      )
  return dataclasses.replace(
    first,
    quoted=any(other.quoted for other in formats.values()),
    integer_ids={
      name: all(other.integer_ids[name] for other in formats.values())
      for name in ID_COLUMNS
    },
  )


def _inspect_sample(
  path: pathlib.Path, lines: Sequence[str], column_names: Mapping[str, str]
) -> LogFormat:
  unquoted = (line.replace('"', "").strip() for line in lines)
  rows = [line.split(",") for line in unquoted if line]
  if not rows:
    raise ValueError(f"{path} is empty, wanted lines of {','.join(COLUMNS)}")
  positions = {name: i for i, name in enumerate(COLUMNS)}
  header = [name.strip().lstrip("\ufeff") for name in rows[0]]
  timestamps = rows[0][4:5]
  has_header = bool(column_names) or not (
    timestamps and _is_integer(timestamps[0])
  )
  if has_header:
    has_header, positions = _header_positions(path, header, column_names)
  body = rows[1:] if has_header else rows
  if not body:
    raise ValueError(f"{path} holds a header line and nothing else")
  num_fields = max(positions.values()) + 1
  if all(len(row) < num_fields for row in body):
    raise ValueError(
      f"{path} has {len(body[0])} fields a line, wanted"
      f" {','.join(COLUMNS)} or a header line that names them"
    )
  return LogFormat(
    positions=positions,
    num_fields=num_fields,
    has_header=has_header,
    integer_ids={
      name: _mostly_integer(body, positions.get(name)) for name in ID_COLUMNS
    },
    quoted=any('"' in line for line in lines),
  )


def _header_positions(
  path: pathlib.Path, header: list[str], column_names: Mapping[str, str]
) -> tuple[bool, dict[str, int]]:
  """Returns whether the first line is a header, and where the columns are."""
  wanted = {name: column_names.get(name, name) for name in COLUMNS}
  positions = {
    name: header.index(theirs)
    for name, theirs in wanted.items()
    if theirs in header
  }
  missing = [wanted[name] for name in _REQUIRED if name not in positions]
  if not missing:
    return True, positions
  looks_like_names = not any(_is_integer(field) for field in header)
  if looks_like_names or column_names:
    raise ValueError(
      f"{path} begins with {','.join(header)!r}: no column"
      f" {', '.join(missing)}; name the columns with --column-names, such as"
      " user_id=uid,item_id=sku,timestamp=time"
    )
  # No name in it: a headerless file whose first row happens to be bad.
  return False, {name: i for i, name in enumerate(COLUMNS)}


def _mostly_integer(rows: list[list[str]], position: int | None) -> bool:
  """True where a column holds integers but for a few bad rows."""
  if position is None:
    return True
  fields = [row[position] for row in rows if len(row) > position]
  fields = [field for field in fields if field.strip()]
  num_integers = sum(_is_integer(field) for field in fields)
  return num_integers >= 0.9 * max(len(fields), 1)
