"""The scorer alone, frozen: its scores, in a TensorFlow 1 session."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from nann import model_store, paths
from nann.data_provider import dataset
from nann.delivery import scorer_graph
from nann.model import scorer as scorers
from nann.model.layers import Phase
from nann.model.scorer import Items
from tests.conftest import run_python

SCORERS = ["attention", "dnn", "two_tower", "examples.keras_scorer:KerasScorer"]
NUM_ITEMS, NUM_CATEGORIES, LENGTH = 40, 6, 7


def run(
  graph_def: tf.compat.v1.GraphDef, history: np.ndarray, items: np.ndarray
) -> np.ndarray:
  """Returns the logits of embeddings [B, L, H] and [N, D]."""
  with tf.Graph().as_default() as graph:
    tf.graph_util.import_graph_def(graph_def, name="")
    with tf.compat.v1.Session(graph=graph) as session:
      feeds = {
        f"{scorer_graph.HISTORY_INPUT}:0": history.reshape(len(history), -1),
        f"{scorer_graph.ITEM_INPUT}:0": items,
      }
      return session.run(f"{scorer_graph.OUTPUT}:0", feeds)


def make(name: str) -> scorers.Scorer:
  """Makes a scorer whose moving averages are not those of the beginning."""
  spec = scorers.ScorerSpec(NUM_ITEMS, NUM_CATEGORIES, emb_dim=8)
  scorer = scorers.create(name, spec)
  rng = np.random.default_rng(0)
  for variable in scorer.variables:
    noise = 0.1 * rng.random(variable.shape).astype(np.float32)
    variable.assign_add(noise)
  return scorer


def operations(graph_def: tf.compat.v1.GraphDef) -> set[str]:
  """Returns the types of all ops, functions included."""
  nodes = [*graph_def.node]
  for function in graph_def.library.function:
    nodes += function.node_def
  return {node.op for node in nodes}


@pytest.mark.parametrize("name", SCORERS)
def test_frozen_scores_are_the_scorers(name: str) -> None:
  scorer = make(name)
  rng = np.random.default_rng(1)
  history = rng.integers(1, NUM_ITEMS + 1, (4, LENGTH))
  history[1, 3:] = 0
  history[2] = 0
  ids = np.arange(1, NUM_ITEMS + 1)
  embedding = scorer.history_embedding(
    Items(tf.constant(history), tf.constant(np.minimum(history, 5)))
  )
  items = scorer.item_embedding(
    Items(tf.constant(ids), tf.constant(ids % 6 + 1)), Phase.INFERENCE
  )
  wanted = scorer.score(
    scorer.user_state(None, embedding, Phase.INFERENCE),
    tf.nest.map_structure(lambda x: x[None], scorer.item_state(None, items)),
    Phase.INFERENCE,
  )
  frozen = scorer_graph.build(scorer)
  got = run(frozen.graph_def, embedding.numpy(), items.numpy())
  assert got.shape == (4, NUM_ITEMS)
  np.testing.assert_allclose(got, wanted, atol=1e-5)
  used = operations(frozen.graph_def)
  assert not [op for op in used if op.startswith("Nann>") or "Variable" in op]


def test_signature_names_what_there_is() -> None:
  frozen = scorer_graph.build(make("dnn"))
  signature = frozen.meta.signature_def["serving_default"]
  assert {key: info.name for key, info in signature.inputs.items()} == {
    "user_seq_emb": "inference_feed_inputs/user_seq_emb:0",
    "item_emb": "inference_feed_inputs/item_emb:0",
  }
  assert signature.outputs["logits"].name == "inference_fetch_outputs/logits:0"
  assert signature.method_name == "tensorflow/serving/predict"
  assert not frozen.meta.graph_def.node


def test_scorer_that_reads_ids_is_refused() -> None:
  scorer = make("dnn")
  scorer.reads_embeddings_only = False
  with pytest.raises(ValueError, match="reads ids beside embeddings"):
    scorer_graph.build(scorer)


def test_command_gives_the_originals_scores(
  original: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  done = run_python(
    "nann/delivery/convert_meta.py",
    f"--model_dir={original / 'checkpoint'}",
    f"--output_dir={tmp_path / 'converted_model'}",
  )
  assert done.returncode == 0, done.stderr
  folder = tmp_path / "converted_model"
  assert {path.name for path in folder.iterdir()} == {
    paths.FROZEN_GRAPH,
    paths.FROZEN_META,
  }
  graph_def = tf.compat.v1.GraphDef.FromString(
    (folder / paths.FROZEN_GRAPH).read_bytes()
  )
  model = model_store.load(original / "checkpoint")
  data = dataset.load(original / "data")
  histories = data.held_out("test").histories[:20]
  table = data.catalogue.category_table()
  embedding = model.scorer.history_embedding(
    Items(tf.constant(histories), tf.constant(table[histories]))
  )
  items = np.load(original / "embeddings" / "item_embs.npy")
  got = run(graph_def, embedding.numpy(), items)
  np.testing.assert_allclose(got, np.load(original / "scores20.npy"), atol=1e-4)


def test_missing_model_is_named(tmp_path: pathlib.Path) -> None:
  done = run_python(
    "nann/delivery/convert_meta.py",
    f"--model-dir={tmp_path}",
    f"--output-dir={tmp_path / 'out'}",
  )
  assert done.returncode == 1
  assert "holds no checkpoint; run --job-type train" in done.stderr
  assert not (tmp_path / "out").exists()
