"""The trained model on disk: what the scorer is, and its weights.

`scorer.json` says which scorer to make; checkpoints hold its variables. A
TensorFlow 1 checkpoint of the original system in the same folder is recognized
and used as it is.
"""

import dataclasses
import pathlib
import shutil

import tensorflow as tf

from nann import files, paths
from nann.model import scorer as scorers
from nann.model import tf1_checkpoint

_CHECKPOINTS_KEPT = 3


@dataclasses.dataclass(frozen=True)
class StoredModel:
  """A model that was found on disk.

  Attributes:
    scorer: With its weights.
    name: Its name, as --scorer takes it.
    spec: What it was made with.
    checkpoint: Prefix of the checkpoint.
  """

  scorer: scorers.Scorer
  name: str
  spec: scorers.ScorerSpec
  checkpoint: str

  def fingerprint(self) -> str:
    """Returns a checksum of the weights, for the manifests of what follows."""
    return files.checksum(pathlib.Path(self.checkpoint + ".index"))


@dataclasses.dataclass(frozen=True)
class Description:
  """How to make the scorer of a folder again.

  Attributes:
    name: Its name, as --scorer takes it.
    spec: What it is made with.
    init_from: The checkpoint that training started from; empty: none.
  """

  name: str
  spec: scorers.ScorerSpec
  init_from: str = ""


def describe(folder: pathlib.Path, description: Description) -> None:
  """Writes scorer.json."""
  content = dataclasses.asdict(description)
  files.save_json(folder / paths.SCORER_DESCRIPTION, content)


def read_description(folder: pathlib.Path) -> Description | None:
  """Reads scorer.json; None where there is none.

  Raises:
    ValueError: The file is damaged.
  """
  path = folder / paths.SCORER_DESCRIPTION
  if not path.exists():
    return None
  content = files.load_json(path, "train")
  try:
    spec = scorers.ScorerSpec(**content.pop("spec"))
    return Description(spec=spec, **content)
  except (KeyError, TypeError) as error:
    raise ValueError(
      f"{path} does not describe a scorer ({error}); run --job-type train again"
    ) from error


def checkpoint_manager(
  checkpoint: tf.train.Checkpoint, folder: pathlib.Path, step: tf.Variable
) -> tf.train.CheckpointManager:
  """Returns what saves and finds the checkpoints of a training run.

  A checkpoint of the original system in the folder is none of the run's: it is
  neither found nor, later, deleted.
  """
  if holds_original_model(folder):
    (folder / "checkpoint").unlink()
  return tf.train.CheckpointManager(
    checkpoint,
    str(folder),
    max_to_keep=_CHECKPOINTS_KEPT,
    step_counter=step,
    checkpoint_name="ckpt",
  )


def save(manager: tf.train.CheckpointManager, step: int) -> None:
  """Saves a checkpoint.

  Raises:
    OSError: It could not be written, as when the disk is full. Nothing of it is
      left; the checkpoints before it are.
  """
  try:
    manager.save(checkpoint_number=step)
  except tf.errors.OpError as error:
    for path in pathlib.Path(manager.directory).glob(f"*ckpt-{step}[._]*"):
      shutil.rmtree(path) if path.is_dir() else path.unlink()
    raise OSError(
      f"the checkpoint of step {step:,} could not be written to"
      f" {manager.directory} ({error.message.splitlines()[0]}); the last one is"
      f" {manager.latest_checkpoint}. Make room and run the same command again"
    ) from error


def holds_original_model(folder: pathlib.Path) -> bool:
  """Returns whether a folder's newest checkpoint is the original system's."""
  prefix = tf.train.latest_checkpoint(str(folder))
  return prefix is not None and tf1_checkpoint.is_tf1_checkpoint(prefix)


def find_checkpoint(location: pathlib.Path) -> str:
  """Returns the prefix of the newest checkpoint of a folder, or of a prefix.

  Raises:
    FileNotFoundError: There is no checkpoint.
  """
  if location.is_dir():
    found = tf.train.latest_checkpoint(str(location))
    if found is None:
      indices = sorted(
        location.glob("*.index"), key=lambda p: p.stat().st_mtime
      )
      found = str(indices[-1].with_suffix("")) if indices else None
  else:
    prefix = str(location).removesuffix(".index")
    found = prefix if pathlib.Path(prefix + ".index").exists() else None
  if found is None:
    raise FileNotFoundError(
      f"{location} holds no checkpoint; run --job-type train"
    )
  return str(found)


def load(location: pathlib.Path) -> StoredModel:
  """Makes the scorer of a model folder (or checkpoint prefix) with its weights.

  Raises:
    FileNotFoundError: There is no checkpoint.
    ValueError: The checkpoint is damaged or of another scorer.
  """
  prefix = find_checkpoint(location)
  try:
    if tf1_checkpoint.is_tf1_checkpoint(prefix):
      scorer, spec = tf1_checkpoint.load_scorer(prefix)
      return StoredModel(scorer, "attention", spec, prefix)
    folder = pathlib.Path(prefix).parent
    description = read_description(folder)
    if description is None:
      raise FileNotFoundError(
        f"{folder / paths.SCORER_DESCRIPTION} is missing beside the checkpoint"
      )
    restored = scorers.create(description.name, description.spec)
    status = tf.train.Checkpoint(scorer=restored).read(prefix)
    status.assert_existing_objects_matched().expect_partial()
  # A truncated file shows in several ways, one of each kind.
  except (tf.errors.OpError, AssertionError, IndexError) as error:
    raise ValueError(
      f"{prefix} cannot be read ({str(error)[:300]}); run --job-type train"
      " again"
    ) from error
  return StoredModel(restored, description.name, description.spec, prefix)
