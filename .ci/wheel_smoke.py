"""Tries out an installed wheel: does it load, and search by both of its doors?

Run with the Python of an environment that has the wheel, from elsewhere than
the repository: only what is installed is to be found.
"""

import importlib
import pathlib
import sys

import numpy as np
import tensorflow as tf

import nann
from nann import ops

NUM_ITEMS, TARGET, K = 200, 50, 3
# The op library is no module of Python.
OPS = "_nann_ops"


def main() -> None:
  """Walks a ring of items to the best ones."""
  folder = pathlib.Path(nann.__file__).parent
  if folder.parent == pathlib.Path(__file__).resolve().parent.parent:
    sys.exit(f"nann is that of the repository, {folder}; run from elsewhere")
  rows = np.arange(NUM_ITEMS)
  neighbors = np.stack([rows - 1, rows + 1], axis=1) % NUM_ITEMS
  wanted = [TARGET, TARGET - 1, TARGET + 1]

  graph = nann.Graph.from_edges(neighbors)
  found = graph.search(
    lambda rows: -np.abs(rows - TARGET), K, entries=np.array([0]), ef=150
  )
  _check("nann.Graph", found.rows, wanted)

  values = tf.constant(neighbors.ravel(), tf.int32)
  splits = tf.constant(np.arange(NUM_ITEMS + 1, dtype=np.int64) * 2)
  state = tf.constant(-np.abs(rows - TARGET)[:, None].astype(np.float32))
  answer = ops.beam_search(
    [(values, splits)],
    tf.zeros([1], tf.int32),
    lambda user, items: tf.reduce_sum(items, axis=-1),
    tf.zeros([1, 1]),
    state,
    tf.zeros([1, 1], tf.int32),
    tf.zeros([1, 0], tf.int32),
    K,
    limits=tf.constant([150, 1, NUM_ITEMS, NUM_ITEMS], tf.int64),
  )
  _check("the TensorFlow op", answer.rows, wanted)
  modules = sorted(path.name.split(".")[0] for path in folder.glob("_*.so"))
  for name in modules:
    if name != OPS:
      importlib.import_module(f"nann.{name}")
  print(
    f"nann {nann.__version__} in {folder} searches and loads"
    f" {', '.join(modules)}"
  )


def _check(door: str, found: object, wanted: list[int]) -> None:
  rows = np.asarray(found).ravel().tolist()
  if rows != wanted:
    sys.exit(f"{door} finds {rows}, wanted {wanted}")


if __name__ == "__main__":
  main()
