"""Command: a model folder becomes frozen_graph.pb and 0.meta."""

import pathlib

from absl import flags

from nann import command_line

_MANUAL = command_line.manual_page(
  "convert_meta.py - the scorer alone as a frozen graph",
  "Writes frozen_graph.pb, of stock TensorFlow ops, and its signature, 0.meta.",
  {
    "SYNOPSIS": [
      "  python nann/delivery/convert_meta.py --model_dir output/export \\",
      "      --output_dir output/export/converted_model",
    ],
    "FLAGS": [
      "  --model_dir, --model-dir (default ./output/export)",
      "      A folder with a checkpoint of the scorer: export/ or model/.",
      "  --output_dir, --output-dir (default ./output/export/converted_model)",
      "      Where to write.",
    ],
    "GRAPH": [
      "  inference_feed_inputs/user_seq_emb [B, L * H] float32: the embeddings",
      "      of a history one after the other, all zero for padding",
      "  inference_feed_inputs/item_emb [N, D] float32: rows of item_embs.npy",
      "  inference_fetch_outputs/logits [B, N] float32",
    ],
  },
)


def _define_flags() -> None:
  flags.DEFINE_string("model-dir", "./output/export", "Folder of the scorer.")
  flags.DEFINE_string(
    "output-dir", "./output/export/converted_model", "Where to write."
  )
  flags.DEFINE_alias("model_dir", "model-dir")
  flags.DEFINE_alias("output_dir", "output-dir")


def main() -> None:
  """Runs the command."""
  scorer_graph = command_line.load_quietly("nann.delivery.scorer_graph")
  scorer_graph.convert(
    pathlib.Path(command_line.flag_value("model-dir")),
    pathlib.Path(command_line.flag_value("output-dir")),
  )


if __name__ == "__main__":
  _define_flags()
  command_line.run("convert_meta.py", main, _MANUAL)
