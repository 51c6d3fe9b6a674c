"""What every group of settings is made of: documented, checked fields.

A field carries its own help text and bounds; whoever reads a command line finds
name, default and explanation here, once.
"""

import dataclasses
from typing import Any


def setting(default: Any, help_text: str, **bounds: Any) -> Any:
  """Declares one documented field of a settings class.

  Args:
    default: The default value; it also fixes the type of the flag.
    help_text: What the setting means, with units and the original's name for
      it where that differs.
    **bounds: Any of `minimum`, `maximum`, `above` (exclusive minimum),
      `choices` and `nonempty`, checked when the settings are made.
  """
  return dataclasses.field(
    default=default, metadata={"help": help_text, **bounds}
  )


def flag_name(field_name: str) -> str:
  """Returns the spelling of a field at the command line."""
  return field_name.replace("_", "-")


@dataclasses.dataclass(frozen=True)
class Settings:
  """Base of all settings: checks the declared bounds of every field."""

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      for element in value if isinstance(value, tuple) else (value,):
        _check_bounds(field.name, element, field.metadata)
      if field.metadata.get("nonempty") and not value:
        raise ValueError(f"--{flag_name(field.name)} is empty")
    self.check()

  def check(self) -> None:
    """Checks what involves more than one field. Raises ValueError."""


def _check_bounds(name: str, value: Any, bounds: Any) -> None:
  wanted = None
  if "minimum" in bounds and value < bounds["minimum"]:
    wanted = f"at least {bounds['minimum']}"
  if "above" in bounds and value <= bounds["above"]:
    wanted = f"above {bounds['above']}"
  if "maximum" in bounds and value > bounds["maximum"]:
    wanted = f"at most {bounds['maximum']}"
  if "choices" in bounds and value not in bounds["choices"]:
    wanted = "one of " + ", ".join(bounds["choices"])
  if wanted:
    raise ValueError(f"--{flag_name(name)} is {value!r}, wanted {wanted}")
