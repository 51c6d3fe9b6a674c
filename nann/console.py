"""What the jobs print: messages, progress and tables. Knows no job."""

import sys
import time
from collections.abc import Iterable, Sequence

import tqdm
from absl import logging
from rich import box
from rich.console import Console
from rich.table import Table


def say(message: str) -> None:
  """Prints one line of progress, with the time of day."""
  print(time.strftime("%H:%M:%S"), message, flush=True)


def warn(message: str) -> None:
  """Prints what the user should know before trusting a result."""
  logging.debug("warning: %s", message)
  print(time.strftime("%H:%M:%S"), "NOTE:", message, flush=True)


def progress(total: int, unit: str, description: str) -> tqdm.tqdm:
  """Returns a progress bar with rate and time left; quiet in log files."""
  return tqdm.tqdm(
    total=total,
    unit=unit,
    desc=description,
    unit_scale=True,
    dynamic_ncols=True,
    # Not on a terminal: a line now and then instead of a moving bar.
    mininterval=0.2 if sys.stderr.isatty() else 15.0,
    delay=0.5 if sys.stderr.isatty() else 15.0,
    leave=False,
  )


def table(
  title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
  """Prints a table; the first column is text, the others are numbers."""
  say(title)
  rendered = Table(box=box.SIMPLE)
  for number, column in enumerate(columns):
    rendered.add_column(column, justify="right" if number else "left")
  for row in rows:
    rendered.add_row(*row)
  Console(width=None if sys.stdout.isatty() else 120).print(rendered)


def duration(seconds: float) -> str:
  """Returns "1:02:03" or "2:03"."""
  minutes, seconds = divmod(int(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f"{hours}:{minutes:02d}:{seconds:02d}"
  return f"{minutes}:{seconds:02d}"
