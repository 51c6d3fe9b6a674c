"""Command: writes what the load generator is to do into an export folder."""

import pathlib

from absl import flags

from nann import command_line, files, paths

_MANUAL = command_line.manual_page(
  "gen_benchmark_conf.py - the configuration of nann_benchmark",
  "Writes benchmark_conf into the folder of an exported model, for exec.pb and"
  "\nthe requests that gen_runmeta.py has written there. Edit it, or give the"
  "\nprogram flags: every field is one, see nann_benchmark --help.",
  {
    "SYNOPSIS": [
      "  python gen_benchmark_conf.py --model-dir ${output_root}/export",
    ],
    "FLAGS": [
      "  --model-dir (default ./output/export)",
      "      The exported model.",
    ],
    "THEN": [
      "  cd ${output_root}/export",
      "  <repository>/benchmark/build/nann_benchmark benchmark_conf",
    ],
    "ON A GPU": [
      "  The caches of the original's tool have one name today:",
      "  TF_XLA_FLAGS=--tf_xla_persistent_cache_directory=./xla_cache stands",
      "  for TF_XLA_CUBIN_CACHE_DIR and TF_XLA_PTX_CACHE_DIR.",
      "",
      "  A model that was exported with --search-device gpu searches there.",
      "  A logical device of TensorFlow runs one search after another. For",
      "  several at once: make several (virtual_devices in config_proto),",
      "  give each an instance of the model (predictor_num, devices);",
      "  docs/cuda.md shows how. nvidia-cuda-mps-control -d is for several",
      "  processes on one GPU, and not needed for this.",
    ],
  },
)

_CONF = """\
# What nann_benchmark does with this model; nann_benchmark --help says more.
# Paths are relative to this file.
bench_model_config {{
  name: "nann"
  frozen_graph: "{graph}"
  meta_graph: "{meta}"
  # Instead of the two: saved_model: "nann/1"
  runmeta: "{requests}"
  # Only the requests to one signature: signature_key: "retrieve"
  # Session and run options, as files of text: config_proto, run_options
  predictor_num: 1
  # Where the instances run, in turn: devices: "/GPU:0" devices: "/GPU:1"
  # Requests a second; -1: as fast as possible.
  qps: -1
  # Seconds after which the model is loaded anew under load; 0: never.
  switch_interval: 0
}}
# 0: one for each processor.
bench_thread_count: 0
# Seconds; those of the warm-up do not count.
duration: 10
warm_up: 2
# With qps above 0: how requests arrive, and how many may wait.
arrivals: "poisson"
max_queue_size: 1000
"""


def main() -> None:
  """Runs the command."""
  export = paths.ExportPaths(pathlib.Path(command_line.flag_value("model-dir")))
  for path, command in (
    (export.exec_graph, "main.py --job-type export"),
    (export.requests, "gen_runmeta.py"),
  ):
    if not path.exists():
      raise FileNotFoundError(f"{path} is not there; run {command} first")
  text = _CONF.format(
    graph=export.exec_graph.name,
    meta=export.exec_meta.name,
    requests=export.requests.name,
  )
  with files.written_whole(export.benchmark_conf) as temporary:
    temporary.write_text(text)
  print(export.benchmark_conf)


if __name__ == "__main__":
  flags.DEFINE_string("model-dir", "./output/export", "The exported model.")
  command_line.run("gen_benchmark_conf.py", main, _MANUAL)
