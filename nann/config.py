"""Every setting of the system: frozen, validated, documented in one place.

A field carries its own help text; `main.py` turns the fields into flags, so a
name, a default and an explanation exist once. This module knows no flags, no
files and no TensorFlow.
"""

import dataclasses
import typing
from typing import Any

from nann.delivery_settings import ExportSettings
from nann.serving_settings import ServeSettings
from nann.setting_groups import (
  DataSettings,
  EvaluationSettings,
  IndexSettings,
  PathSettings,
  RunSettings,
  SearchSettings,
)
from nann.settings import Settings
from nann.training_settings import ScorerSettings, TrainSettings

__all__ = [
  "DEMO_DEFAULTS",
  "SCORER_DEFAULTS",
  "Config",
  "DataSettings",
  "EvaluationSettings",
  "ExportSettings",
  "IndexSettings",
  "PathSettings",
  "RunSettings",
  "ScorerSettings",
  "SearchSettings",
  "ServeSettings",
  "TrainSettings",
  "config_from_values",
  "setting_groups",
]


@dataclasses.dataclass(frozen=True)
class Config:
  """All settings of a run, a group for each concern."""

  paths: PathSettings = dataclasses.field(default_factory=PathSettings)
  data: DataSettings = dataclasses.field(default_factory=DataSettings)
  scorer: ScorerSettings = dataclasses.field(default_factory=ScorerSettings)
  train: TrainSettings = dataclasses.field(default_factory=TrainSettings)
  index: IndexSettings = dataclasses.field(default_factory=IndexSettings)
  search: SearchSettings = dataclasses.field(default_factory=SearchSettings)
  evaluation: EvaluationSettings = dataclasses.field(
    default_factory=EvaluationSettings
  )
  export: ExportSettings = dataclasses.field(default_factory=ExportSettings)
  serve: ServeSettings = dataclasses.field(default_factory=ServeSettings)
  run: RunSettings = dataclasses.field(default_factory=RunSettings)

  def __post_init__(self) -> None:
    levels = self.index.hnsw_start_level + 1
    if len(self.search.top_k_per_level) != levels:
      raise ValueError(
        f"--top-k-per-level holds {len(self.search.top_k_per_level)} values,"
        f" wanted {levels}: one a level from 0 to --hnsw-start-level"
        f" {self.index.hnsw_start_level}"
      )


# What --job-type demo takes where the command line says nothing: the whole path
# in two minutes on two cores.
DEMO_DEFAULTS: dict[str, Any] = {
  "output_root": "./output/demo",
  "dataset_dir": "./output/demo/data",
  "max_train_steps": 400,
  "num_validations": 1,
  "num_test_batch": 2000,
  "sweep": True,
}


# What a scorer takes where the command line says nothing.
SCORER_DEFAULTS: dict[str, dict[str, Any]] = {
  # The original's eps does nothing here but cost time, and a larger one is a
  # trade: docs/adversarial.md.
  "nann_plus": {"adv_eps": 0.0},
}


def setting_groups() -> dict[str, type[Settings]]:
  """Returns the settings class of each group of `Config`, in order."""
  hints = typing.get_type_hints(Config)
  return {field.name: hints[field.name] for field in dataclasses.fields(Config)}


def config_from_values(values: dict[str, Any]) -> Config:
  """Makes a `Config` from a flat dict of field name -> value.

  Raises:
    ValueError: A value is out of bounds, or two do not fit together.
  """
  groups: dict[str, Any] = {}
  for group, settings in setting_groups().items():
    names = [field.name for field in dataclasses.fields(settings)]
    groups[group] = settings(
      **{name: values[name] for name in names if name in values}
    )
  return Config(**groups)
