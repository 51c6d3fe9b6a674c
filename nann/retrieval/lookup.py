"""What a search looks up: graphs, rows by item id, categories. As tensors, each
made when it is first needed."""

import functools

import numpy as np
import tensorflow as tf

from nann.index.graph import HnswGraph, Index
from nann.model.layers import Phase
from nann.model.scorer import Items, Scorer
from nann.retrieval.items import NO_ROW, ItemArrays, entry_table
from nann.retrieval.tensors import GraphTensors, graph_tensors


class Lookup:
  """Tables and graphs of a retriever."""

  def __init__(
    self,
    scorer: Scorer,
    items: ItemArrays,
    index: Index | None,
    category_table: np.ndarray,
  ) -> None:
    """Takes what they are made of; see `Retriever`."""
    self._scorer, self._items, self._index = scorer, items, index
    self._category_table = category_table
    self.categories = tf.constant(category_table, tf.int64)

  @functools.cached_property
  def hnsw(self) -> GraphTensors:
    """What policy paper walks."""
    assert self._index is not None
    with tf.init_scope():
      return graph_tensors(self._index.hnsw)

  @functools.cached_property
  def best_first(self) -> GraphTensors:
    """What policy best_first walks."""
    assert self._index is not None
    if self._index.flat is None:
      return self.hnsw
    with tf.init_scope():
      return graph_tensors(self._index.flat)

  @functools.cached_property
  def row_table(self) -> tf.Tensor:
    """[n + 1] int32 rows by item id, -1 where there is none."""
    with tf.init_scope():
      return _with_end(self._items.row_table(len(self._category_table)))

  @functools.cached_property
  def entry_table(self) -> tf.Tensor:
    """The same; an item that is not in the graph: its nearest row."""
    with tf.init_scope():
      rows = self._items.row_table(len(self._category_table))
      missing = np.flatnonzero((rows < 0) & (self._category_table > 0))
      if not len(missing):
        return self.row_table
      embeddings = self._scorer.item_embedding(
        Items(tf.constant(missing), tf.constant(self._category_table[missing])),
        Phase.INFERENCE,
      )
      return _with_end(
        entry_table(
          rows, missing, embeddings.numpy(), self._items, self._flat_graph()
        )
      )

  def _flat_graph(self) -> HnswGraph | None:
    return None if self._index is None else self._index.best_first

  def tensors(self) -> dict[str, tf.Tensor]:
    """Returns all of them, by name."""
    found = {
      "category_table": self.categories,
      "entry_table": self.entry_table,
      "row_table": self.row_table,
    }
    for level, (values, row_splits) in enumerate(self.hnsw.levels):
      found[f"neighbors_level_{level}_values"] = values
      found[f"neighbors_level_{level}_row_splits"] = row_splits
    if self.best_first is not self.hnsw:
      values, row_splits = self.best_first.levels[0]
      found["graph_values"], found["graph_row_splits"] = values, row_splits
    return found


def rows_in(table: tf.Tensor, item_ids: tf.Tensor) -> tf.Tensor:
  """Returns int32 rows of item ids, -1 for those that the table lacks."""
  return tf.gather(
    table, tf.clip_by_value(item_ids, 0, int(table.shape[0]) - 1)
  )


def _with_end(table: np.ndarray) -> tf.Tensor:
  """Returns a row table with an end for all ids beyond it. Id 0 has no row."""
  return tf.constant(np.append(table, np.int32(NO_ROW)))
