"""The same answers by other ways: what our search is compared with.

All take a user's history and return rows and scores; all run on one thread.
"""

import copy
import math
from typing import Any

import frozen
import numpy as np
import tensorflow as tf

from nann.model import embeddings
from nann.model.attention import AttentionScorer
from nann.model.layers import Phase
from nann.model.scorer import History, ScoringParts
from nann.retrieval import reference, tensors
from nann.retrieval import result as results
from nann.retrieval.lookup import rows_in
from nann.retrieval.retriever import Retriever

_PREDICT_ROWS = 4096
_MASKED_LOGIT = -1e9


def exact_request(retriever: Retriever, k: int) -> frozen.Request:
  """Scores all items by the pair part, folded, and takes the k best."""

  @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int64)])
  def request(histories: tf.Tensor) -> Any:
    user_state = retriever.user_state_of(histories)
    items = tf.nest.map_structure(
      lambda state: state[None], retriever.item_state
    )
    scores, rows = tf.math.top_k(retriever.parts.score(user_state, items), k)
    return rows, scores

  return frozen.callable_of(request, retriever.scorer)


def stock_request(
  retriever: Retriever, policy: results.Policy, k: int
) -> frozen.Request:
  """Searches by the reference, which is made of stock TensorFlow ops."""
  assert retriever.index is not None
  parts = retriever.scorer.parts()
  item_state = parts.item_state(None, tf.constant(retriever.items.embeddings))
  categories = tf.constant(retriever.category_table)
  entry_table = retriever._lookup.entry_table
  is_paper = isinstance(policy, results.PaperPolicy)
  index = retriever.index
  graph = tensors.graph_tensors(index.hnsw if is_paper else index.best_first)

  @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int64)])
  def request(histories: tf.Tensor) -> Any:
    history = History(histories, tf.gather(categories, histories))
    embedding = retriever.scorer.history_embedding(history)
    user_state = parts.user_state(history, embedding)
    return reference.beam_search(
      graph,
      parts.score,
      user_state,
      item_state,
      rows_in(entry_table, histories)[:, ::-1],
      tf.constant(retriever.entries)[None],
      tensors.policy_tensors(policy),
      k,
    )

  return frozen.callable_of(request, retriever.scorer)


def unfolded(retriever: Retriever) -> Retriever:
  """Returns a retriever that runs the whole network for each pair.

  The user's keys are still computed once for a request, as in the original.
  """
  assert isinstance(retriever.scorer, AttentionScorer)
  other = copy.copy(retriever)
  other.parts = unfolded_parts(retriever.scorer)
  other.item_state = tf.constant(retriever.items.embeddings)
  other._search_functions = {}
  # Kept for all users of the retriever, so not to be shared.
  other.__dict__.pop("_answer_without_history", None)
  return other


def unfolded_parts(scorer: AttentionScorer) -> ScoringParts:
  """Returns the attention network as it is written down.

  Args:
    scorer: The network; see nann/model/attention.py.
  """

  def user_state(history: History | None, embedding: tf.Tensor) -> Any:
    del history
    keys = scorer.key_2(scorer.key_prelu(scorer.key_1(embedding)))
    keys /= math.sqrt(keys.shape[-1])
    valid = embeddings.valid_positions(embedding)
    return keys, (1.0 - valid) * _MASKED_LOGIT, embedding

  def score(user: Any, item: tf.Tensor) -> tf.Tensor:
    # Folded here, where the weights may be constants for the time being.
    mlp = scorer.mlp.folded()
    keys, mask, history = user
    query = scorer.query_2(scorer.query_prelu(scorer.query_1(item)))
    logits = tf.matmul(query, keys, transpose_b=True) + mask[:, None]
    attended = tf.matmul(tf.nn.softmax(logits), history)
    hidden = mlp.user_part(attended) + mlp.item_part(item)
    return mlp(hidden, Phase.INFERENCE)

  return ScoringParts(lambda _, embedding: embedding, user_state, score)


class KerasScan:
  """Scores all items by the predict method of a Keras model, and sorts.

  The user's part is computed once and lies in variables: kinder than a model
  that takes the history with every item.
  """

  def __init__(self, retriever: Retriever, k: int) -> None:
    assert isinstance(retriever.scorer, AttentionScorer)
    self._retriever, self._k = retriever, k
    parts = unfolded_parts(retriever.scorer)
    self._user_state = parts.user_state
    variables = [
      tf.Variable(state, shape=[1, *[None] * (state.shape.rank - 1)])
      for state in self._states(np.ones([1, 1], np.int64))
    ]
    self._variables = variables

    class Model(tf.keras.Model):
      def call(self, item: tf.Tensor) -> tf.Tensor:
        return parts.score([v.value() for v in variables], item[None])[0]

    self._model = Model()

  def _states(self, history: np.ndarray) -> list[tf.Tensor]:
    items = History(
      tf.constant(history),
      tf.constant(self._retriever.category_table[history]),
    )
    embedding = self._retriever.scorer.history_embedding(items)
    return list(self._user_state(items, embedding))

  def __call__(self, history: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    states = self._states(history)
    for variable, state in zip(self._variables, states, strict=True):
      variable.assign(state)
    scores = self._model.predict(
      self._retriever.items.embeddings, batch_size=_PREDICT_ROWS, verbose=0
    )
    best = np.argpartition(-scores, self._k - 1)[: self._k]
    best = best[np.lexsort((best, -scores[best]))]
    return best[None].astype(np.int32), scores[best][None]
