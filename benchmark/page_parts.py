"""What a comparison on the benchmark page is made of."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

Figures = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Table:
  """A table; the rows that are ours stand out.

  Attributes:
    head: Of the columns.
    rows: Cells; the first is a name.
    ours: Numbers of the rows that are ours.
  """

  head: Sequence[str]
  rows: Sequence[Sequence[str]]
  ours: Sequence[int] = (0,)


@dataclasses.dataclass(frozen=True)
class Block:
  """A comparison.

  Attributes:
    id: In the page.
    title: Its headline.
    text: What was measured.
    pictures: Captions with <svg> elements.
    tables: The figures.
    not_ahead: Where somebody else is level or better, in sentences.
  """

  id: str
  title: str
  text: str
  pictures: Sequence[Mapping[str, str]] = ()
  tables: Sequence[Table] = ()
  not_ahead: Sequence[str] = ()
