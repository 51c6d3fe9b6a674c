"""A Keras model nobody may look into, searched without scoring all items.

Use it from the repository root:

  python -m examples.black_box_scorer

The model takes features of a user and of an item. `split` finds out which part
depends on whom; the search runs no more than what depends on both.
"""

import keras
import numpy as np
import tensorflow as tf

from nann import ops
from nann.retrieval.split import item_states, split

NUM_ITEMS, LENGTH, WIDTH, DEGREE, K = 500, 10, 16, 12, 5
layers = keras.layers


def black_box() -> keras.Model:
  """A GRU reads the history; an MLP compares it with the item."""
  history = keras.Input([LENGTH], dtype="int32", name="history")
  item = keras.Input([], dtype="int32", name="item")
  embedding = layers.Embedding(NUM_ITEMS + 1, WIDTH, mask_zero=True)
  user = layers.GRU(WIDTH)(embedding(history))
  x = layers.Concatenate()([user, embedding(item)])
  for width in (32, 16):
    x = layers.PReLU()(layers.BatchNormalization()(layers.Dense(width)(x)))
  return keras.Model([history, item], layers.Dense(1)(x))


def nearest(state: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
  """Links each item with those of a similar state: [E] int32, [I + 1] int64."""
  distances = np.square(state[:, None] - state[None]).sum(axis=-1)
  neighbors = np.argsort(distances, axis=1)[:, 1 : DEGREE + 1]
  splits = np.arange(len(state) + 1, dtype=np.int64) * DEGREE
  return tf.constant(neighbors.ravel(), tf.int32), tf.constant(splits)


def main() -> None:
  keras.utils.set_random_seed(0)
  model = black_box()
  rng = np.random.default_rng(0)
  histories = rng.integers(1, NUM_ITEMS + 1, [8, LENGTH])
  histories[0, 1:] = 0  # A history of one item; 0 is padding.
  items = np.arange(1, NUM_ITEMS + 1)

  parts = split(
    model,
    user_inputs=["history"],
    item_inputs=["item"],
    probe={"history": histories, "item": items[:8]},
  )
  print(parts.report)
  state = item_states(parts, {"item": items})
  found = ops.beam_search(
    [nearest(np.concatenate(state, axis=-1))],
    entry_points=tf.constant([0]),
    score=parts.score,
    user_state=parts.user_state({"history": histories[:1]}),
    item_state=state,
    expand=tf.constant(rng.choice(NUM_ITEMS, [1, 8], replace=False), tf.int32),
    only_score=tf.zeros([1, 0], tf.int32),
    k=K,
    limits=tf.constant([64, 4, 100, 400], tf.int64),
  )
  pairs = {"history": np.repeat(histories[:1], NUM_ITEMS, 0), "item": items}
  scores = np.ravel(model.predict(pairs, verbose=0))
  print(f"{np.sum(found.num_scored)} of {NUM_ITEMS} items scored")
  if np.allclose(scores[found.rows[0]], found.scores[0], rtol=1e-4, atol=1e-5):
    print("the search agrees with the whole model")
  recall = np.isin(found.rows[0], np.argsort(-scores)[:K]).mean()
  print(f"recall@{K} against the exact scan: {recall:.2f}")


if __name__ == "__main__":
  main()
