"""The name of every artefact, once.

Two roots: the dataset folder (written by prepare_data) and the output folder
(written by all other jobs). Nothing here touches a file.
"""

import dataclasses
import pathlib

SPLITS = ("train", "validate", "test")


@dataclasses.dataclass(frozen=True)
class DatasetPaths:
  """Files of a prepared data set."""

  root: pathlib.Path

  @property
  def meta(self) -> pathlib.Path:
    return self.root / "ub_meta.json"

  @property
  def items(self) -> pathlib.Path:
    return self.root / "ub_items.npz"

  def shard(self, split: str, index: int, num_shards: int) -> pathlib.Path:
    name = f"ub_{split}-{index:05d}-of-{num_shards:05d}.tfrecords"
    return self.root / name

  def shards(self, split: str) -> list[pathlib.Path]:
    """Returns the shards of a split that exist, in order."""
    return sorted(self.root.glob(f"ub_{split}-*-of-*.tfrecords"))

  def window_records(self, split: str) -> pathlib.Path:
    """The original's file of the split: one record a window."""
    return self.root / f"ub_{split}.tfrecords"


@dataclasses.dataclass(frozen=True)
class OutputPaths:
  """Files of a run."""

  root: pathlib.Path

  @property
  def model(self) -> pathlib.Path:
    return self.root / "model"

  @property
  def training_log(self) -> pathlib.Path:
    return self.model / "training_log.jsonl"

  @property
  def bad_batch(self) -> pathlib.Path:
    """The batch of a step whose loss was no number."""
    return self.model / "bad_batch.npz"

  @property
  def tensorboard(self) -> pathlib.Path:
    return self.root / "tensorboard_summary"

  @property
  def embeddings(self) -> pathlib.Path:
    return self.root / "embeddings"

  @property
  def item_ids(self) -> pathlib.Path:
    return self.embeddings / "item_ids.npy"

  @property
  def item_embeddings(self) -> pathlib.Path:
    return self.embeddings / "item_embs.npy"

  @property
  def item_profiles(self) -> pathlib.Path:
    return self.embeddings / ITEM_PROFILES

  @property
  def index(self) -> pathlib.Path:
    return self.root / "index"

  @property
  def search_settings(self) -> pathlib.Path:
    return self.root / "search" / "settings.json"

  @property
  def search_entries(self) -> pathlib.Path:
    return self.root / "search" / "entries.npy"

  @property
  def metrics(self) -> pathlib.Path:
    return self.root / "metrics"

  @property
  def export(self) -> "ExportPaths":
    return ExportPaths(self.root / "export")

  def shard(self, index: int, num_shards: int) -> "GivenPaths":
    """Files of a share of the items, with the model of the run."""
    root = self.root / "shards" / f"{index:05d}-of-{num_shards:05d}"
    own = OutputPaths(root)
    return GivenPaths(root, self.model, own.embeddings, own.index)

  @property
  def report(self) -> pathlib.Path:
    return self.root / "report.html"


@dataclasses.dataclass(frozen=True)
class GivenPaths(OutputPaths):
  """A run whose folders lie where the user says, instead of under the root."""

  model_folder: pathlib.Path
  embeddings_folder: pathlib.Path
  index_folder: pathlib.Path

  @property
  def model(self) -> pathlib.Path:
    return self.model_folder

  @property
  def embeddings(self) -> pathlib.Path:
    return self.embeddings_folder

  @property
  def index(self) -> pathlib.Path:
    return self.index_folder


@dataclasses.dataclass(frozen=True)
class ExportPaths:
  """Files of an exported model."""

  root: pathlib.Path

  @property
  def exec_graph(self) -> pathlib.Path:
    return self.root / "exec.pb"

  @property
  def exec_meta(self) -> pathlib.Path:
    return self.root / "exec.meta.pb"

  @property
  def assets(self) -> pathlib.Path:
    return self.root / "assets"

  @property
  def versions(self) -> pathlib.Path:
    """What a server watches: one SavedModel for each version."""
    return self.root / "nann"

  def version(self, number: int) -> pathlib.Path:
    return self.versions / str(number)

  @property
  def converted_model(self) -> pathlib.Path:
    """The scorer alone."""
    return self.root / "converted_model"

  @property
  def requests(self) -> pathlib.Path:
    """For the load generator, with what it is to do."""
    return self.root / "requests.tfrecords"

  @property
  def benchmark_conf(self) -> pathlib.Path:
    return self.root / "benchmark_conf"

  @property
  def lock(self) -> pathlib.Path:
    return self.root / ".lock"


# Of a SavedModel.
SAVED_MODEL = "saved_model.pb"
ASSETS = "assets"
EXPORT_FACTS = "assets.extra/nann.json"
WARMUP_REQUESTS = "assets.extra/tf_serving_warmup_requests"
# Of the scorer alone.
FROZEN_GRAPH = "frozen_graph.pb"
FROZEN_META = "0.meta"
MANIFEST = "manifest.json"
ITEM_PROFILES = "item_profiles.npy"
SCORER_DESCRIPTION = "scorer.json"
# The graph of policy best_first.
GRAPH_VALUES = "graph_values.npy"
GRAPH_ROW_SPLITS = "graph_row_splits.npy"
MEDOIDS = "medoids.npy"
# The levels of policy paper, under the original's names.
ENTRY_POINTS = "enter_points.npy"


def neighbor_values(level: int) -> str:
  return f"neighbors_level_{level}_values.npy"


def neighbor_row_splits(level: int) -> str:
  return f"neighbors_level_{level}_row_splits.npy"
