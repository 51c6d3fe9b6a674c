"""Command: item embeddings become the index folder.

The original's spelling of `main.py --job-type build_index`.
"""

import pathlib

from absl import flags

from nann import command_line, config
from nann.jobs import build_index

_SEED = ("seed",)

_MANUAL = command_line.manual_page(
  "build_hnsw_index.py - item embeddings become an HNSW index",
  "The same as main.py --job-type build_index, on files of your choice.",
  {
    "SYNOPSIS": [
      "  python nann/delivery/build_hnsw_index.py \\",
      "      -i output/embeddings/item_embs.npy -o output/index",
    ],
    "FLAGS": [
      "  -i, --item-embs-file (default ./output/embeddings/item_embs.npy)",
      "      The embeddings, [items, width] float32.",
      "  -o, --output-dir (default ./output/index)",
      "      Folder of the index.",
      *command_line.settings_entries(config.IndexSettings),
      *command_line.settings_entries(config.RunSettings, _SEED),
    ],
  },
)


def _define_flags() -> None:
  flags.DEFINE_string(
    "item-embs-file",
    "./output/embeddings/item_embs.npy",
    "The embeddings.",
    short_name="i",
  )
  flags.DEFINE_string(
    "output-dir", "./output/index", "Folder of the index.", short_name="o"
  )
  command_line.define_settings(config.IndexSettings)
  command_line.define_settings(config.RunSettings, _SEED)


def main() -> None:
  """Runs the command."""
  build_index.build(
    pathlib.Path(command_line.flag_value("item-embs-file")),
    pathlib.Path(command_line.flag_value("output-dir")),
    config.IndexSettings(**command_line.read_settings(config.IndexSettings)),
    command_line.flag_value("seed"),
  )


if __name__ == "__main__":
  _define_flags()
  command_line.run("build_hnsw_index.py", main, _MANUAL)
