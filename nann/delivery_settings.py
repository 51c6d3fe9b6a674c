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
  num_proof_users: int = setting(
    100,
    "export: users whose answers are compared before a model is published.",
    minimum=1,
  )
