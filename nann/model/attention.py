"""The original's network: attention of the item over the history, then an MLP.

With q = W2 prelu(W1 e + b1) + b2 and k = keys(history), the attention logit
q.k equals prelu(W1 e + b1).(W2^T k) + b2.k; and the first MLP layer on
[attention output; e] is a weighted sum of (Wa v) plus (We e + b). So W2^T k,
b2.k and Wa v belong to the user, prelu(W1 e + b1) and We e + b to the item, and
a pair costs 23 thousand multiply-adds instead of 84 thousand. No tensor of rank
four appears anywhere.

Source: NANN (arXiv 2202.10226), section 4; widths and scale of its code.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from nann.model import embeddings, layers
from nann.model.layers import Dense, PairMlp, Phase, PReLU
from nann.model.scorer import (
  History,
  HistoryNetwork,
  Items,
  ScorerSpec,
  ScoringParts,
  mlp_network,
)

_HIDDEN, _KEY = 128, 256
_MLP = (128, 64, 32)
_MASKED_LOGIT = -1e9


class UserState(NamedTuple):
  """What the pair part needs of a user.

  Attributes:
    keys: [B, L, 128] float32, W2^T k, scaled.
    key_bias: [B, L] float32, b2.k, scaled; very low for padding.
    values: [B, L, 128] float32, Wa v.
  """

  keys: tf.Tensor
  key_bias: tf.Tensor
  values: tf.Tensor


class FoldedUserState(NamedTuple):
  """The same, laid out as the products of a search want it.

  Attributes:
    keys: [B, 128, L] float32.
    key_bias: [B, L] float32.
    values: [B, L, 128] float32.
  """

  keys: tf.Tensor
  key_bias: tf.Tensor
  values: tf.Tensor


class ItemState(NamedTuple):
  """What the pair part needs of an item.

  Attributes:
    query: [..., 128] float32, prelu(W1 e + b1).
    hidden: [..., 128] float32, We e + b.
  """

  query: tf.Tensor
  hidden: tf.Tensor


class AttentionScorer(embeddings.EmbeddingScorer):
  """See the module text."""

  def __init__(self, spec: ScorerSpec) -> None:
    super().__init__(spec, "attention_scorer")
    init, width = self.init, self.width
    self.query_1 = Dense.create(width, _HIDDEN, init, "query_1")
    self.query_prelu = PReLU.create(_HIDDEN, "query_prelu")
    self.query_2 = Dense.create(_HIDDEN, _KEY, init, "query_2")
    self.key_1 = Dense.create(width, _HIDDEN, init, "key_1")
    self.key_prelu = PReLU.create(_HIDDEN, "key_prelu")
    self.key_2 = Dense.create(_HIDDEN, _KEY, init, "key_2")
    self.mlp = PairMlp.create(width, width, _MLP, init)

  def item_state(
    self, items: Items | None, item_embedding: tf.Tensor
  ) -> ItemState:
    return self._item_state(self.mlp, item_embedding)

  def user_state(
    self, history: History | None, history_embedding: tf.Tensor, phase: Phase
  ) -> UserState:
    return self._user_state(self.mlp, history_embedding)

  def score(
    self, user_state: UserState, item_state: ItemState, phase: Phase
  ) -> tf.Tensor:
    logits = tf.matmul(item_state.query, user_state.keys, transpose_b=True)
    logits += user_state.key_bias[:, None]
    return _score(self.mlp, logits, user_state.values, item_state.hidden, phase)

  def parts(self) -> ScoringParts:
    mlp = self.mlp.folded()
    history = self._history_network(mlp)
    return ScoringParts(
      item_state=lambda items, embedding: self._item_state(mlp, embedding),
      user_state=lambda _, embedding: _folded_user_state(history, embedding),
      score=lambda user, items: _score(
        mlp,
        tf.matmul(items.query, user.keys) + user.key_bias[:, None],
        user.values,
        items.hidden,
        Phase.INFERENCE,
      ),
      network=mlp_network(
        mlp,
        user=lambda state: (state.keys, state.key_bias, state.values, None),
        items=lambda state: (state.query, state.hidden),
        history=history,
      ),
    )

  def _item_state(self, mlp: PairMlp, item_embedding: tf.Tensor) -> ItemState:
    return ItemState(
      query=self.query_prelu(self.query_1(item_embedding)),
      hidden=mlp.item_part(item_embedding),
    )

  def _keys(self, hidden: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns W2^T k [..., 128] and b2.k [...], scaled, of prelu(..)."""
    keys = self.key_2(hidden) / math.sqrt(_KEY)  # [..., 256]
    assert self.query_2.bias is not None
    key_bias = layers.linear(keys, self.query_2.bias[:, None])[..., 0]
    return layers.linear(keys, tf.transpose(self.query_2.kernel)), key_bias

  def _user_state(
    self, mlp: PairMlp, history_embedding: tf.Tensor
  ) -> UserState:
    hidden = self.key_prelu(self.key_1(history_embedding))
    keys, key_bias = self._keys(hidden)
    if self.mask_padding:
      valid = embeddings.valid_positions(history_embedding)
      key_bias += _mask(valid)
    return UserState(keys, key_bias, values=mlp.user_part(history_embedding))

  def _history_network(self, mlp: PairMlp) -> HistoryNetwork:
    """Returns the user's side, its linear layers one after another as one."""
    assert self.key_1.bias is not None
    # `_keys` is affine: its values at 0 and at the unit vectors say all.
    points = tf.concat([tf.zeros([1, _HIDDEN]), tf.eye(_HIDDEN)], axis=0)
    keys, key_bias = self._keys(points)
    both = tf.concat([keys, key_bias[:, None]], axis=1)  # [129, 129]
    return HistoryNetwork(
      first=tf.convert_to_tensor(self.key_1.kernel),
      first_bias=tf.convert_to_tensor(self.key_1.bias),
      slope=tf.convert_to_tensor(self.key_prelu.slope),
      second=both[1:] - both[0],
      second_bias=both[0],
      values=mlp.user_part(tf.eye(self.width)),
      mask_padding=self.mask_padding,
    )


def _folded_user_state(
  network: HistoryNetwork, embedding: tf.Tensor
) -> FoldedUserState:
  """Returns the state in two products, without padding at the end."""
  valid = embeddings.valid_positions(embedding)
  if network.mask_padding:
    length = embeddings.longest(valid)
    embedding, valid = embedding[:, :length], valid[:, :length]
  kernel = tf.concat([network.first, network.values], axis=1)
  x = layers.linear(embedding, kernel)
  hidden = x[..., :_HIDDEN] + network.first_bias
  hidden = PReLU(network.slope)(hidden)
  both = tf.matmul(
    network.second, hidden, transpose_a=True, transpose_b=True
  )  # [B, 129, L]
  both += network.second_bias[:, None]
  key_bias = both[:, -1]
  if network.mask_padding:
    key_bias += _mask(valid)
  return FoldedUserState(both[:, :-1], key_bias, x[..., _HIDDEN:])


def _mask(valid: tf.Tensor) -> tf.Tensor:
  """Returns what is added to logits [B, L]: very low for padding.

  A history of nothing but padding: equal weights on values that are 0.
  """
  return (1.0 - valid) * _MASKED_LOGIT


def _score(
  mlp: PairMlp,
  logits: tf.Tensor,
  values: tf.Tensor,
  hidden: tf.Tensor,
  phase: Phase,
) -> tf.Tensor:
  """Scores [B, N] of logits [B, N, L], values [B, L, W], hidden [.., N, W]."""
  attention = tf.nn.softmax(logits)
  return mlp(tf.matmul(attention, values) + hidden, phase)
