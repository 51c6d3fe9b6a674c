"""Command: exec.pb and exec.meta.pb become a SavedModel."""

import pathlib

from absl import flags

from nann import command_line

_MANUAL = command_line.manual_page(
  "pb_to_saved_model.py - a delivered graph as a SavedModel",
  "What main.py --job-type export publishes as a version, made of files of your"
  "\nchoice. A version that is there is replaced as a whole.",
  {
    "SYNOPSIS": [
      "  python nann/delivery/pb_to_saved_model.py \\",
      "      --model-path output/export/exec.pb \\",
      "      --meta-path output/export/exec.meta.pb \\",
      "      --export-dir output/export/nann/1",
    ],
    "FLAGS": [
      "  --model-path (default ./output/export/exec.pb)",
      "      The graph, with assets/ beside it.",
      "  --meta-path (default ./output/export/exec.meta.pb)",
      "      Its signatures.",
      "  --export-dir (default ./output/export/nann/1)",
      "      Folder to write. Servers take its name for the version: a number.",
    ],
  },
)


def _define_flags() -> None:
  flags.DEFINE_string("model-path", "./output/export/exec.pb", "The graph.")
  flags.DEFINE_string(
    "meta-path", "./output/export/exec.meta.pb", "Its signatures."
  )
  flags.DEFINE_string(
    "export-dir", "./output/export/nann/1", "Folder to write."
  )


def main() -> None:
  """Runs the command."""
  delivery = command_line.load_quietly("nann.delivery.delivery")
  delivery.convert(
    pathlib.Path(command_line.flag_value("model-path")),
    pathlib.Path(command_line.flag_value("meta-path")),
    pathlib.Path(command_line.flag_value("export-dir")),
  )


if __name__ == "__main__":
  _define_flags()
  command_line.run("pb_to_saved_model.py", main, _MANUAL)
