"""An ONNX model as the scorer of a batch of searches; no TensorFlow.

Run it from the repository root: python examples/onnx_scorer.py
"""

import faiss
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import nann

NUM_ITEMS, WIDTH, NUM_USERS, K = 20_000, 32, 16, 100


def make_model(rng: np.random.Generator) -> bytes:
  """Makes score = relu((item * user) W) v."""
  weights = rng.normal(size=(WIDTH, 64)) / WIDTH**0.5 + 0.2
  named = {"W": weights, "v": rng.random(size=(64, 1))}
  nodes = [
    helper.make_node("Mul", ["item", "user"], ["pair"]),
    helper.make_node("MatMul", ["pair", "W"], ["hidden"]),
    helper.make_node("Relu", ["hidden"], ["active"]),
    helper.make_node("MatMul", ["active", "v"], ["score"]),
  ]
  item, user, score = (
    helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])
    for name, width in [("item", WIDTH), ("user", WIDTH), ("score", 1)]
  )
  constants = [numpy_helper.from_array(np.float32(named[n]), n) for n in named]
  graph = helper.make_graph(nodes, "scorer", [item, user], [score], constants)
  opset = [helper.make_opsetid("", 17)]
  model = helper.make_model(graph, opset_imports=opset, ir_version=8)
  return model.SerializeToString()


def main() -> None:
  rng = np.random.default_rng(0)
  items = rng.normal(size=(200, WIDTH))[rng.integers(200, size=NUM_ITEMS)]
  items = (items + 0.5 * rng.normal(size=items.shape)).astype(np.float32)
  histories = rng.choice(NUM_ITEMS, (NUM_USERS, 3))
  session = onnxruntime.InferenceSession(make_model(rng))

  def score(rows: np.ndarray, query: int) -> np.ndarray:
    inputs = {"item": items[rows], "user": items[histories[query, :1]]}
    return session.run(None, inputs)[0][:, 0]

  index = faiss.IndexHNSWFlat(WIDTH, 16)
  index.add(items)
  graph = nann.Graph.from_faiss(index)
  found = graph.search(score, K, entries=histories, ef=200, num_threads=2)

  everything = np.arange(NUM_ITEMS)
  exact = [np.argsort(-score(everything, u))[:K] for u in range(NUM_USERS)]
  hits = [np.isin(*pair).mean() for pair in zip(exact, found.rows, strict=True)]
  print(f"recall@{K} {np.mean(hits):.3f}, {found.total_scored.mean()} scored")


if __name__ == "__main__":
  main()
