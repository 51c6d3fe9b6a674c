"""The scorer alone as a frozen graph of stock ops: frozen_graph.pb and 0.meta.

Its inputs are embeddings, so that it needs neither tables nor ids: the history
as it is looked up, and items as extract_feature wrote them. Names are those of
the original system.
"""

import pathlib
from typing import NamedTuple

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.framework import convert_to_constants

from nann import console, files, model_store, paths
from nann.model.layers import Phase
from nann.model.scorer import Items, Scorer

HISTORY_INPUT = "inference_feed_inputs/user_seq_emb"
ITEM_INPUT = "inference_feed_inputs/item_emb"
OUTPUT = "inference_fetch_outputs/logits"
_SIGNATURE = "serving_default"


class ScorerGraph(NamedTuple):
  """The scorer and its signature.

  Attributes:
    graph_def: inference_feed_inputs/user_seq_emb [B, L * H] float32, the
      embeddings of a history one after the other, all zero for padding;
      inference_feed_inputs/item_emb [N, D] float32 ->
      inference_fetch_outputs/logits [B, N] float32.
    meta: The signature, by the last parts of these names, and nothing else.
  """

  graph_def: tf.compat.v1.GraphDef
  meta: tf.compat.v1.MetaGraphDef


def build(scorer: Scorer) -> ScorerGraph:
  """Freezes a scorer.

  Raises:
    ValueError: The scorer reads more than embeddings.
  """
  if not scorer.reads_embeddings_only:
    raise ValueError(
      f"{type(scorer).__name__} reads ids beside embeddings"
      " (reads_embeddings_only is False), so it cannot be a graph of"
      " embeddings alone; run --job-type export, whose model takes ids"
    )
  history_width, item_width = _widths(scorer)
  frozen = _frozen(scorer, history_width, item_width)
  graph = tf.Graph()
  with graph.as_default():
    history = tf.compat.v1.placeholder(
      tf.float32, [None, None], name=HISTORY_INPUT
    )
    items = tf.compat.v1.placeholder(
      tf.float32, [None, item_width], name=ITEM_INPUT
    )
    (logits,) = tf.graph_util.import_graph_def(
      frozen,
      input_map={"history:0": history, "items:0": items},
      return_elements=["logits:0"],
      name="scorer",
    )
    logits = tf.identity(logits, name=OUTPUT)
    signature = tf.compat.v1.saved_model.build_signature_def(
      inputs={
        _last_part(tensor.op.name): _info(tensor) for tensor in (history, items)
      },
      outputs={_last_part(OUTPUT): _info(logits)},
      method_name=tf.saved_model.PREDICT_METHOD_NAME,
    )
  meta = tf.compat.v1.MetaGraphDef()
  meta.signature_def[_SIGNATURE].CopyFrom(signature)
  return ScorerGraph(graph.as_graph_def(), meta)


def convert(model_folder: pathlib.Path, folder: pathlib.Path) -> None:
  """Writes the scorer of a model folder, or of export/, as a frozen graph.

  Raises:
    FileNotFoundError: There is no checkpoint.
    ValueError: It is damaged, or its scorer reads more than embeddings.
  """
  model = model_store.load(model_folder)
  write(folder, build(model.scorer))
  console.say(f"scorer of {model.checkpoint} in {folder / paths.FROZEN_GRAPH}")


def write(folder: pathlib.Path, scorer_graph: ScorerGraph) -> None:
  """Writes frozen_graph.pb and 0.meta into a folder."""
  for name, proto in (
    (paths.FROZEN_META, scorer_graph.meta),
    (paths.FROZEN_GRAPH, scorer_graph.graph_def),
  ):
    with files.written_whole(folder / name) as temporary:
      temporary.write_bytes(proto.SerializeToString(deterministic=True))


def _frozen(
  scorer: Scorer, history_width: int, item_width: int
) -> tf.compat.v1.GraphDef:
  """Returns a graph history:0, items:0 -> logits:0 without variables."""
  # The plain parts: no custom op.
  parts = scorer.parts()

  def score(history: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    shape = [tf.shape(history)[0], -1, history_width]
    user_state = parts.user_state(None, tf.reshape(history, shape))
    item_state = parts.item_state(None, items)
    shared = tf.nest.map_structure(lambda state: state[None], item_state)
    return parts.score(user_state, shared)

  concrete = tf.function(score, autograph=False).get_concrete_function(
    tf.TensorSpec([None, None], tf.float32, "history"),
    tf.TensorSpec([None, item_width], tf.float32, "items"),
  )
  frozen = convert_to_constants.convert_variables_to_constants_v2(
    concrete, lower_control_flow=False
  )
  graph_def = frozen.graph.as_graph_def()
  node = graph_def.node.add(name="logits", op="Identity")
  node.input.append(frozen.outputs[0].name)
  node.attr["T"].type = tf.float32.as_datatype_enum
  return graph_def


def _widths(scorer: Scorer) -> tuple[int, int]:
  """Returns H, of a position of a history, and D, of an item embedding."""
  ones = tf.ones([1, 1], tf.int64)
  history = scorer.history_embedding(Items(ones, ones))
  item = scorer.item_embedding(Items(ones, ones), Phase.INFERENCE)
  return int(history.shape[-1]), int(item.shape[-1])


def _last_part(name: str) -> str:
  return name.rsplit("/", 1)[-1]


def _info(tensor: tf.Tensor) -> tf.compat.v1.TensorInfo:
  return meta_graph_pb2.TensorInfo(
    name=tensor.name,
    dtype=tensor.dtype.as_datatype_enum,
    tensor_shape=tensor.shape.as_proto(),
  )
