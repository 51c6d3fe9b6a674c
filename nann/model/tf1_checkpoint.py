"""Reads the original system's TensorFlow 1 checkpoint into our scorer.

Its network is `AttentionScorer` without a padding mask; only the names differ.
"""

import pathlib

import tensorflow as tf

from nann.model.attention import AttentionScorer
from nann.model.layers import Block, Dense
from nann.model.scorer import ScorerSpec

_ITEM_TABLE, _CATEGORY_TABLE = "ht_item", "ht_cate"


def is_tf1_checkpoint(prefix: str) -> bool:
  """Returns whether a checkpoint was written by the original system."""
  return _ITEM_TABLE in dict(tf.train.list_variables(prefix))


def load_scorer(prefix: str) -> tuple[AttentionScorer, ScorerSpec]:
  """Makes a scorer with the weights of a checkpoint.

  Args:
    prefix: Path of the checkpoint without .index or .data.

  Raises:
    ValueError: A variable is missing or has another shape.
  """
  reader = tf.train.load_checkpoint(prefix)
  shapes = reader.get_variable_to_shape_map()
  spec = ScorerSpec(
    num_items=shapes[_ITEM_TABLE][0] - 1,
    num_categories=shapes[_CATEGORY_TABLE][0] - 1,
    emb_dim=shapes[_ITEM_TABLE][1],
    mask_padding=False,
  )
  scorer = AttentionScorer(spec)
  for name, variable in _names(scorer).items():
    if name not in shapes:
      raise ValueError(
        f"{pathlib.Path(prefix).name} has no variable {name}; it is no"
        " checkpoint of the original network"
      )
    if tuple(shapes[name]) != tuple(variable.shape):
      raise ValueError(
        f"{name} has shape {shapes[name]} in {pathlib.Path(prefix).name},"
        f" wanted {variable.shape.as_list()}"
      )
    variable.assign(reader.get_tensor(name))
  return scorer, spec


def _names(scorer: AttentionScorer) -> dict[str, tf.Variable]:
  """Returns the original's name of each of our variables."""
  names = {
    _ITEM_TABLE: scorer.tables.item,
    _CATEGORY_TABLE: scorer.tables.category,
    "nonlinear_attention/prelu_q": scorer.query_prelu.slope,
    "nonlinear_attention/prelu_k": scorer.key_prelu.slope,
  }
  for block, name in zip(
    [*scorer.tower.blocks, *scorer.mlp.blocks],
    ["dnn_item_1", "dnn_item_2", "1_dnn", "2_dnn", "3_dnn"],
    strict=True,
  ):
    names |= _block_names(block, name)
  for dense, name in (
    (scorer.tower.out, "dnn_item_3/fc"),
    (scorer.mlp.out, "4_dnn/fc"),
    (scorer.query_1, "nonlinear_attention/dense"),
    (scorer.query_2, "nonlinear_attention/dense_1"),
    (scorer.key_1, "nonlinear_attention/dense_2"),
    (scorer.key_2, "nonlinear_attention/dense_3"),
  ):
    names |= _dense_names(dense, name)
  return names


def _block_names(block: Block, name: str) -> dict[str, tf.Variable]:
  assert block.norm is not None
  return {
    **_dense_names(block.dense, f"{name}/fc"),
    f"{name}/bn/gamma": block.norm.gamma,
    f"{name}/bn/beta": block.norm.beta,
    f"{name}/bn/moving_mean": block.norm.mean,
    f"{name}/bn/moving_variance": block.norm.variance,
    f"{name}/prelu": block.prelu.slope,
  }


def _dense_names(dense: Dense, name: str) -> dict[str, tf.Variable]:
  names = {f"{name}/kernel": dense.kernel}
  if dense.bias is not None:
    names[f"{name}/bias"] = dense.bias
  return names
