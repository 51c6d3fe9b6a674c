"""A TensorFlow function as the scorer of a search over any graph.

The way into `nann.Graph` with a model that exists. Training, export and serving
of a scorer of your own go through main.py instead: see keras_scorer.py.

Run it from the repository root: python examples/tensorflow_scorer.py
"""

import faiss
import numpy as np
import tensorflow as tf

import nann

NUM_ITEMS, WIDTH, K = 20_000, 32, 100


def main() -> None:
  rng = np.random.default_rng(0)
  tf.random.set_seed(0)
  items = rng.normal(size=(200, WIDTH))[rng.integers(200, size=NUM_ITEMS)]
  items = (items + 0.5 * rng.normal(size=items.shape)).astype(np.float32)
  history = rng.choice(NUM_ITEMS, 3)

  table = tf.constant(items)
  user = table[history[0]]
  hidden = tf.keras.layers.Dense(64, activation="gelu")
  out = tf.keras.layers.Dense(1, use_bias=False)

  # One trace for any number of rows.
  @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
  def score(rows: tf.Tensor) -> tf.Tensor:
    item = tf.gather(table, rows)
    closeness = -tf.reduce_sum((item - user) ** 2, axis=-1)
    return closeness + out(hidden(item * user))[:, 0]

  index = faiss.IndexHNSWFlat(WIDTH, 16)
  index.add(items)
  graph = nann.Graph.from_faiss(index)
  found = graph.search(score, K, entries=history, ef=200)

  exact = tf.math.top_k(score(tf.range(NUM_ITEMS)), K).indices.numpy()
  recall = np.isin(exact, found.rows).mean()
  share = found.total_scored / NUM_ITEMS
  print(f"recall@{K} {recall:.3f}, scored {share:.1%} of {NUM_ITEMS} items")


if __name__ == "__main__":
  main()
