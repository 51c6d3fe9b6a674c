"""Command: a UserBehavior csv becomes records.

The original's spelling of `main.py --job-type prepare_data`.
"""

from absl import flags

from nann import command_line, config

_FIELDS = (
  "column_names",
  "behaviors",
  "time_window",
  "max_bad_rows",
  "test_users",
  "num_test_users",
  "num_validation_users",
  "max_length",
  "train_min_length",
  "test_min_length",
  "num_shards",
  "memory_limit",
)
_SEED = ("seed",)

_MANUAL = command_line.manual_page(
  "convert_UB_to_tfrecord.py - a behavior csv becomes training records",
  "The same as main.py --job-type prepare_data.",
  {
    "SYNOPSIS": [
      "  python nann/data_provider/convert_UB_to_tfrecord.py \\",
      "      -i UserBehavior.csv -o data [--flag value ...]",
    ],
    "FLAGS": [
      "  -i, --input",
      "      The csv, plain or .gz; several separated by commas.",
      "  -o, --output-folder (default ./data)",
      "      Folder to write to.",
      *command_line.settings_entries(config.DataSettings, _FIELDS),
      *command_line.settings_entries(config.RunSettings, _SEED),
    ],
  },
)


def _define_flags() -> None:
  flags.DEFINE_list("input", None, "The csv files.", short_name="i")
  flags.DEFINE_string(
    "output-folder", "./data", "Folder to write to.", short_name="o"
  )
  command_line.define_settings(config.DataSettings, _FIELDS)
  command_line.define_settings(config.RunSettings, _SEED)
  # The original's names.
  flags.DEFINE_alias("num-test-user", "num-test-users")
  flags.DEFINE_alias("num-validate-user", "num-validation-users")


def main() -> None:
  """Runs the command."""
  inputs = command_line.flag_value("input")
  if not inputs:
    raise ValueError("-i is missing, wanted the csv to read")
  values = {
    **command_line.read_settings(config.DataSettings, _FIELDS),
    **command_line.read_settings(config.RunSettings, _SEED),
    "input": tuple(inputs),
    "dataset_dir": command_line.flag_value("output-folder"),
  }
  with command_line.without_startup_notes():
    from nann.jobs import prepare_data  # Loads TensorFlow.
  prepare_data.run(config.config_from_values(values))


if __name__ == "__main__":
  _define_flags()
  command_line.run("convert_UB_to_tfrecord.py", main, _MANUAL)
