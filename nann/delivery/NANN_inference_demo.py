"""Command: runs a delivered graph with made-up requests."""

import pathlib

from absl import flags

from nann import command_line

_MANUAL = command_line.manual_page(
  "NANN_inference_demo.py - a delivered graph, tried out",
  "Asks every signature of the graph ten times with made-up inputs, and prints"
  "\nwhat goes in and out.",
  {
    "SYNOPSIS": [
      "  python nann/delivery/NANN_inference_demo.py \\",
      "      --graph-file output/export/exec.pb \\",
      "      --meta-path output/export/exec.meta.pb",
    ],
    "FLAGS": [
      "  --graph-file (default ./output/export/exec.pb)",
      "      exec.pb with assets/ beside it; or frozen_graph.pb.",
      "  --meta-path (default ./output/export/exec.meta.pb)",
      "      exec.meta.pb; for frozen_graph.pb: 0.meta.",
    ],
  },
)


def _define_flags() -> None:
  flags.DEFINE_string(
    "graph-file", "./output/export/exec.pb", "The graph to run."
  )
  flags.DEFINE_string(
    "meta-path", "./output/export/exec.meta.pb", "Its signatures."
  )


def main() -> None:
  """Runs the command."""
  trial = command_line.load_quietly("nann.delivery.trial")
  trial.run(
    pathlib.Path(command_line.flag_value("graph-file")),
    pathlib.Path(command_line.flag_value("meta-path")),
  )


if __name__ == "__main__":
  _define_flags()
  command_line.run("NANN_inference_demo.py", main, _MANUAL)
