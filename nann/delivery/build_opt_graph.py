"""Command: model, embeddings and index become exec.pb."""

import pathlib

from absl import flags

from nann import command_line, config, paths

_DATASET, _OPS = ("dataset_dir",), ("export_ops", "search_device")

_MANUAL = command_line.manual_page(
  "build_opt_graph.py - the whole retrieval as one graph",
  "Writes exec.pb, exec.meta.pb (both as text too) and assets/: what main.py"
  "\n--job-type export writes, of folders of your choice.",
  {
    "SYNOPSIS": [
      "  python nann/delivery/build_opt_graph.py --model-dir output/export \\",
      "      --index-dir output/index --item-embs-dir output/embeddings \\",
      "      --output-dir output/export",
    ],
    "FLAGS": [
      "  --model-dir (default ./output/export)",
      "      A folder with a checkpoint: model/ or export/; or its",
      "      converted_model/.",
      "  --index-dir (default ./output/index)",
      "      The index. Beside it, search/ of job tune is used if it is there.",
      "  --item-embs-dir (default ./output/embeddings)",
      "      item_ids.npy and item_embs.npy.",
      "  --output-dir (default ./output/export)",
      "      Where to write.",
      *command_line.settings_entries(config.PathSettings, _DATASET),
      "      Without it the graph answers serving_default only, by item ids.",
      *command_line.settings_entries(config.ExportSettings, _OPS),
      *command_line.settings_entries(config.SearchSettings),
    ],
  },
)


def _define_flags() -> None:
  for name, folder in (
    ("model-dir", "export"),
    ("index-dir", "index"),
    ("item-embs-dir", "embeddings"),
    ("output-dir", "export"),
  ):
    flags.DEFINE_string(name, f"./output/{folder}", "See --help.")
  command_line.define_settings(config.PathSettings, _DATASET)
  command_line.define_settings(config.ExportSettings, _OPS)
  command_line.define_settings(config.SearchSettings)


def main() -> None:
  """Runs the command."""
  values = command_line.read_settings(config.PathSettings, _DATASET)
  values |= command_line.read_settings(config.ExportSettings, _OPS)
  values |= command_line.read_settings(config.SearchSettings)
  model, index, embeddings, target = (
    pathlib.Path(command_line.flag_value(name))
    for name in ("model-dir", "index-dir", "item-embs-dir", "output-dir")
  )
  export = command_line.load_quietly("nann.jobs.export")
  export.build_graph(
    config.config_from_values(values),
    paths.GivenPaths(index.resolve().parent, model, embeddings, index),
    paths.ExportPaths(target),
  )


if __name__ == "__main__":
  _define_flags()
  command_line.run("build_opt_graph.py", main, _MANUAL)
