"""The page of `make bench`: pictures, tables, commands; one file, no scripts.

It says where we are ahead and, as plainly, where we are not.
"""

import pathlib
from typing import Any

import jinja2
import page_blocks
import page_numbers

from nann import console, files

_PACKAGE, _TEMPLATE = "nann", "page.html"


def write(path: pathlib.Path, content: dict[str, Any]) -> None:
  """Writes the page.

  Args:
    path: The .html file.
    content: What bench.py has gathered.
  """
  environment = jinja2.Environment(
    loader=jinja2.ChoiceLoader(
      [
        jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        jinja2.PackageLoader(_PACKAGE, "templates"),
      ]
    ),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
  )
  figures = {
    name: section["figures"]
    for name, section in content["sections"].items()
    if "figures" in section
  }
  blocks = page_blocks.blocks(figures)
  losses = [
    {"text": loss, "where": block.id}
    for block in blocks
    for loss in block.not_ahead
  ]
  runs = [
    {
      "name": name,
      "command": section["command"],
      "seconds": console.duration(section["seconds"]),
      "error": section.get("error", ""),
    }
    for name, section in content["sections"].items()
  ]
  text = environment.get_template(_TEMPLATE).render(
    title="NANN beside everyone else",
    name=content["name"],
    command=content["command"],
    seconds=console.duration(content["seconds"]),
    numbers=page_numbers.numbers(figures),
    blocks=blocks,
    losses=losses,
    runs=runs,
    machine=content["machine"],
    versions=content["versions"],
  )
  with files.written_whole(path) as temporary:
    temporary.write_text(text)
