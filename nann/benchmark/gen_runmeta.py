"""Command: writes requests for the load generator into an export folder."""

import pathlib

from absl import flags

from nann import command_line, paths

_MANUAL = command_line.manual_page(
  "gen_runmeta.py - requests for nann_benchmark",
  "Writes requests.tfrecords into the folder of an exported model: a TFRecord"
  "\nof PredictionLog, which TensorFlow Serving takes for its warm-up as well.",
  {
    "SYNOPSIS": [
      "  python gen_runmeta.py --output-dir ${output_root}/export",
    ],
    "FLAGS": [
      "  --output-dir (default ./output/export)",
      "      The exported model.",
      "  --dataset-dir",
      "      Take the histories of its test users; without it inputs are made",
      "      up.",
      "  --signature",
      "      What to ask; default: retrieve for real users, else",
      "      serving_default.",
      "  --num-requests (default 1000)",
      "      How many; they are sent over and over.",
      "  --seed (default 0)",
      "      Which users, and which noise.",
    ],
  },
)


def _define_flags() -> None:
  flags.DEFINE_string("output-dir", "./output/export", "The exported model.")
  flags.DEFINE_string("dataset-dir", "", "Whose users ask.")
  flags.DEFINE_string("signature", "", "What to ask.")
  flags.DEFINE_integer("num-requests", 1000, "How many.", lower_bound=1)
  flags.DEFINE_integer("seed", 0, "Which users, and which noise.")


def main() -> None:
  """Runs the command."""
  request_file = command_line.load_quietly("nann.benchmark.request_file")
  dataset_dir = command_line.flag_value("dataset-dir")
  request_file.write(
    paths.ExportPaths(pathlib.Path(command_line.flag_value("output-dir"))),
    pathlib.Path(dataset_dir) if dataset_dir else None,
    command_line.flag_value("signature"),
    command_line.flag_value("num-requests"),
    command_line.flag_value("seed"),
  )


if __name__ == "__main__":
  _define_flags()
  command_line.run("gen_runmeta.py", main, _MANUAL)
