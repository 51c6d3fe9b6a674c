"""A network in NumPy as the scorer of a search; no TensorFlow.

Run it from the repository root: python examples/numpy_scorer.py
"""

import faiss
import numpy as np

import nann

NUM_ITEMS, WIDTH, HIDDEN, K = 20_000, 32, 64, 100


def make_scorer(items: np.ndarray, user: np.ndarray, rng: np.random.Generator):
  """Returns a function from rows to scores: an MLP of item and user."""
  hidden = rng.normal(size=(WIDTH, HIDDEN)).astype(np.float32) / WIDTH**0.5
  out = rng.normal(size=HIDDEN).astype(np.float32) / HIDDEN

  def score(rows: np.ndarray) -> np.ndarray:
    pairs = items[rows] * user
    closeness = -((items[rows] - user) ** 2).sum(axis=1)
    return 0.05 * closeness + np.tanh(pairs @ hidden) @ out

  return score


def main() -> None:
  rng = np.random.default_rng(0)
  centers = rng.normal(size=(200, WIDTH))
  items = centers[rng.integers(200, size=NUM_ITEMS)]
  items = (items + 0.5 * rng.normal(size=items.shape)).astype(np.float32)
  history = rng.choice(NUM_ITEMS, 3)
  score = make_scorer(items, items[history[0]], rng)

  index = faiss.IndexHNSWFlat(WIDTH, 16)
  index.add(items)
  graph = nann.Graph.from_faiss(index)
  found = graph.search(score, K, entries=history, ef=200)

  exact = np.argsort(-score(np.arange(NUM_ITEMS)), kind="stable")[:K]
  recall = np.isin(exact, found.rows).mean()
  share = found.total_scored / NUM_ITEMS
  print(f"recall@{K} {recall:.3f}, scored {share:.1%} of {NUM_ITEMS} items")


if __name__ == "__main__":
  main()
