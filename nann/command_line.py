"""Flags from settings: what main.py and the documented commands share.

A settings class (see `nann.config`) says its fields, defaults and help; here
they become absl flags and a manual page, and the flags become settings again.
Only entry points (main.py and the commands) call this module.
"""

import contextlib
import dataclasses
import importlib
import os
import sys
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence

from absl import app, flags, logging

from nann import quiet
from nann.settings import Settings, flag_name


def define_settings(
  settings: type[Settings], names: Sequence[str] = ()
) -> None:
  """Defines a flag for each field, or for the named fields only."""
  hints = typing.get_type_hints(settings)
  for field in _fields(settings, names):
    _define_flag(field, hints[field.name])


def _fields(
  settings: type[Settings], names: Sequence[str]
) -> list[dataclasses.Field[typing.Any]]:
  return [
    field
    for field in dataclasses.fields(settings)
    if not names or field.name in names
  ]


def _define_flag(
  field: dataclasses.Field[typing.Any], hint: typing.Any
) -> None:
  name, help_text = flag_name(field.name), field.metadata["help"]
  default: typing.Any = field.default
  if hint is bool:
    flags.DEFINE_bool(name, default, help_text)
  elif hint is int:
    flags.DEFINE_integer(name, default, help_text)
  elif hint is float:
    flags.DEFINE_float(name, default, help_text)
  elif typing.get_origin(hint) is tuple:
    flags.DEFINE_list(name, _shown_default(field), help_text)
  else:
    flags.DEFINE_string(name, default, help_text)


def _shown_default(field: dataclasses.Field[typing.Any]) -> str:
  if isinstance(field.default, tuple):
    return ",".join(str(value) for value in field.default)
  return str(field.default)


def read_settings(
  settings: type[Settings], names: Sequence[str] = ()
) -> dict[str, typing.Any]:
  """Returns field name -> value of the flags that were defined.

  Raises:
    ValueError: An element of a list is not of its type.
  """
  hints = typing.get_type_hints(settings)
  values = {}
  for field in _fields(settings, names):
    value = flag_value(flag_name(field.name))
    if typing.get_origin(hints[field.name]) is tuple:
      element_type = typing.get_args(hints[field.name])[0]
      value = _parse_elements(field.name, value, element_type)
    values[field.name] = value
  return values


def flag_value(name: str) -> typing.Any:
  """Returns the value of a flag."""
  return flags.FLAGS[name].value


def is_given(field: str) -> bool:
  """Returns whether the flag of a field stands at the command line."""
  return bool(flags.FLAGS[flag_name(field)].present)


def _parse_elements(
  name: str, texts: list[str], element_type: type
) -> tuple[typing.Any, ...]:
  try:
    return tuple(element_type(text) for text in texts)
  except ValueError as error:
    raise ValueError(
      f"--{flag_name(name)} is {','.join(texts)}, wanted"
      f" {element_type.__name__} values separated by commas"
    ) from error


def settings_entries(
  settings: type[Settings], names: Sequence[str] = ()
) -> list[str]:
  """Returns the lines of a manual page about the flags of a settings class."""
  lines = []
  for field in _fields(settings, names):
    default = _shown_default(field)
    name = flag_name(field.name)
    if isinstance(field.default, bool):
      name = f"[no]{name}"
    shown = f" (default {default})" if default else ""
    lines.append(f"  --{name}{shown}")
    lines += textwrap.wrap(
      field.metadata["help"],
      width=78,
      initial_indent="      ",
      subsequent_indent="      ",
    )
  return lines


def manual_page(
  name: str, summary: str, sections: Mapping[str, Sequence[str]]
) -> str:
  """Lays out a manual page.

  Args:
    name: "command - what it is".
    summary: A paragraph or two.
    sections: Title -> indented lines.
  """
  lines = ["NAME", f"  {name}", "", "DESCRIPTION"]
  lines.append(textwrap.indent(summary, "  "))
  for title, body in sections.items():
    lines += ["", title, *body]
  return "\n".join(lines) + "\n"


def _print_whole_or_part(text: str) -> None:
  """Prints; a reader such as `head` may leave before the end."""
  try:
    print(text, flush=True)
  except BrokenPipeError:
    # Else Python writes what is left at its end, and complains.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(program: str, main: Callable[[], None], manual: str) -> None:
  """Parses the command line and runs `main`.

  --help prints the manual page. A ValueError or FileNotFoundError is the
  user's to mend: its sentence is printed, and its origin with --verbosity=1.
  """

  def parse(argv: list[str]) -> list[str]:
    if any(argument in ("--help", "-h", "-help") for argument in argv[1:]):
      _print_whole_or_part(manual)
      sys.exit(0)
    try:
      rest: list[str] = flags.FLAGS(argv)
    except flags.Error as error:
      sys.exit(f"{program}: {error}\nSee python {program} --help.")
    if len(rest) > 1:
      sys.exit(
        f"{program}: {rest[1]!r} is no flag.\nSee python {program} --help."
      )
    return rest

  def guarded(argv: list[str]) -> None:
    del argv
    try:
      main()
    except (ValueError, OSError) as error:
      logging.debug("Where it was raised:", exc_info=True)
      sys.exit(f"{program}: {error}")

  app.run(guarded, flags_parser=parse)


def load_quietly(module: str) -> typing.Any:
  """Imports a module that loads TensorFlow; see `without_startup_notes`."""
  with without_startup_notes():
    return importlib.import_module(module)


@contextlib.contextmanager
def without_startup_notes() -> Iterator[None]:
  """Hides what TensorFlow writes while it is imported in the block.

  It is written before any log level counts, and on a machine without a GPU it
  ends in an error that is none. --verbosity=1 shows it.
  """
  if flag_value("verbosity") > 0:
    yield
    return
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  with quiet.muted_stderr():
    yield
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None:
      tensorflow.config.list_physical_devices()
  logging.set_verbosity(logging.WARNING)
