"""A SavedModel with both kinds of state that a served search has.

The graph and the item state are .npy files in its assets, mapped by
Nann>MappedTensor; the weights of the scorer are variables. Integer-valued, so
that every runtime gives the same answers to the last bit.
"""

import pathlib

import numpy as np
import tensorflow as tf

from nann import ops

NUM_ROWS, WIDTH, DEGREE, K = 500, 16, 8, 10


class SmallModel(tf.Module):
  """Finds the rows that a user [B, WIDTH] likes best."""

  def __init__(self, folder: pathlib.Path) -> None:
    """Writes the arrays into a folder and refers to them as assets."""
    super().__init__()
    rng = np.random.default_rng(0)
    arrays = {
      "values": rng.integers(0, NUM_ROWS, NUM_ROWS * DEGREE).astype(np.int32),
      "row_splits": np.arange(NUM_ROWS + 1, dtype=np.int64) * DEGREE,
      "items": rng.integers(-9, 9, (NUM_ROWS, WIDTH)).astype(np.float32),
    }
    # Directly in the module: that is where saving looks for assets.
    self.files = {}
    for name, array in arrays.items():
      path = folder / f"{name}.npy"
      np.save(path, array)
      self.files[name] = tf.saved_model.Asset(str(path))
    self.weights = tf.Variable(
      rng.integers(-3, 3, (WIDTH, WIDTH)).astype(np.float32)
    )

  @tf.function(
    input_signature=[
      tf.TensorSpec([None, WIDTH], tf.float32, name="users"),
      tf.TensorSpec([None, None], tf.int32, name="entries"),
    ]
  )
  def search(
    self, users: tf.Tensor, entries: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """Returns rows, scores and num_scored."""

    def mapped(name: str, dtype: tf.DType, *shape: int) -> tf.Tensor:
      return ops.mapped_tensor(self.files[name].asset_path, dtype, shape)

    def score(user: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
      return tf.linalg.matvec(items, tf.matmul(user, self.weights))

    found = ops.beam_search(
      [
        (
          mapped("values", tf.int32, None),
          mapped("row_splits", tf.int64, NUM_ROWS + 1),
        )
      ],
      tf.constant([0]),
      score,
      users,
      mapped("items", tf.float32, NUM_ROWS, WIDTH),
      entries,
      entries[:, :0],
      K,
      limits=[40, 4, 30, 10_000],
    )
    return found._asdict()


def queries(number: int = 5) -> tuple[np.ndarray, np.ndarray]:
  """Returns users and entries."""
  rng = np.random.default_rng(1)
  users = rng.integers(-9, 9, (number, WIDTH)).astype(np.float32)
  entries = rng.integers(-1, NUM_ROWS, (number, 3)).astype(np.int32)
  return users, entries


def save(model: SmallModel, folder: pathlib.Path) -> None:
  tf.saved_model.save(
    model,
    str(folder),
    signatures=model.search,
    options=tf.saved_model.SaveOptions(namespace_whitelist=["Nann"]),
  )


def load_and_search(folder: str) -> dict[str, np.ndarray]:
  """Answers the queries with a model that this process did not make."""
  ops.library()
  signature = tf.saved_model.load(folder).signatures["serving_default"]
  users, entries = queries()
  found = signature(users=tf.constant(users), entries=tf.constant(entries))
  return {name: tensor.numpy() for name, tensor in found.items()}
