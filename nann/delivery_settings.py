"""The settings of exporting a model."""

import dataclasses

from nann.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class ExportSettings(Settings):
  """How a model is exported."""

  export_version: int = setting(
    0,
    "export: version number of the SavedModel; 0: the next free one.",
    minimum=0,
  )
  export_ops: str = setting(
    "nann",
    "export: nann: our ops, loaded or linked by the server; stock: TensorFlow's"
    " own, slower, for a server as it is.",
    choices=("nann", "stock"),
  )
  search_device: str = setting(
    "cpu",
    "export: cpu, or gpu: where the exported model walks the graph. It wants a"
    " GPU here and where it is served, and --export-ops nann (docs/cuda.md).",
    choices=("cpu", "gpu"),
  )
  num_proof_users: int = setting(
    100,
    "export: users whose answers are compared before a model is published.",
    minimum=1,
  )

  def check(self) -> None:
    if self.search_device == "gpu" and self.export_ops != "nann":
      raise ValueError(
        f"--export-ops is {self.export_ops}, which has no search for a GPU;"
        " wanted nann with --search-device gpu"
      )
