"""Our own scorer: what counting knows, what a sequence says, and repetition.

score = log(exp(s) + mass of the item's repetitions), with s the sum of
  the user's vector times the item's embedding, which holds
    a causal encoder of the history times a small tower of the item, and
    a weighted sum of the history's factors times the item's factor (FISM), and
    what stands near the history's items elsewhere (see `neighbors`),
  an attention term: answers of the history's positions, weighted by the item,
  weights of the positions that share the item's category, and
  the log of the item's frequency and a learned bias.
Each part can be left out. Every part is causal: one pass over a sequence gives
the state after each position, which is what training uses (see `sequences`).

A repetition is added as probability, not as score: how likely a user takes an
item again does not depend on how popular it is.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from nann.model import layers, terms
from nann.model.encoder import (
  AgeWeights,
  CausalBlock,
  Dropout,
  LayerNorm,
  ages_after,
  ages_between,
)
from nann.model.item_features import ItemFeatures
from nann.model.layers import Dense, Phase, PReLU
from nann.model.neighbors import Neighbors, NeighborTerm
from nann.model.scorer import (
  History,
  Items,
  Scorer,
  ScorerSpec,
  ScoringParts,
  TermNetwork,
)
from nann.model.warm_start import WarmStart

_WIDTH, _ATTENTION = 128, 32
_FISM_HALF_AGE = 15.0


class Noise(NamedTuple):
  """What training hides at random, as a pure function of a seed.

  Attributes:
    seed: Scalar int64.
    dropout: Share of units that the encoder drops.
    oov_dropout: Share of items whose identity is hidden for a step.
  """

  seed: tf.Tensor
  dropout: float
  oov_dropout: float


class Positions(NamedTuple):
  """A history, and what is known after each of its positions.

  Attributes:
    history: Items [B, L].
    valid: [B, L] float32, 0 for padding.
    vector: [B, L, D] float32, meets an item's embedding.
    hidden: [B, L, 128] float32, output of the encoder.
  """

  history: Items
  valid: tf.Tensor
  vector: tf.Tensor
  hidden: tf.Tensor


class NannPlusScorer(Scorer):
  """See the module text."""

  def __init__(self, spec: ScorerSpec) -> None:
    super().__init__(name="nann_plus_scorer")
    init = layers.Initializer(spec.seed)
    self.spec = spec
    self.features = ItemFeatures(spec, init)
    inputs = self.features.width
    self.tower_1 = Dense.create(inputs, _WIDTH, init, "tower_1")
    self.tower_norm = LayerNorm(_WIDTH, "tower_norm")
    self.tower_prelu = PReLU.create(_WIDTH, "tower_prelu")
    self.tower_2 = Dense.create(_WIDTH, _WIDTH, init, "tower_2", False)
    self.input = Dense.create(inputs, _WIDTH, init, "input")
    if spec.encoder:
      self.position = tf.Variable(
        init.truncated_normal([spec.max_length, _WIDTH], 0.02), name="position"
      )
      self.block = CausalBlock(_WIDTH, init)
    self.out = Dense.create(_WIDTH, _WIDTH, init, "out", use_bias=False)
    self.out.kernel.assign(self.out.kernel * 0.1)
    ages = spec.max_length
    self.ages = AgeWeights(ages, _FISM_HALF_AGE, 0.0)
    self.fism_scale = tf.Variable(0.0, name="fism_scale")
    if spec.neighbors:
      self.neighbors = NeighborTerm(spec.num_items, 2 * spec.emb_dim)
    if spec.attention_term:
      self.attention = terms.AttentionTerm(_WIDTH, _ATTENTION, ages, init)
    if spec.repeats:
      self.categories = terms.CategoryTerm(ages)
      self.repeats = terms.RepeatTerm(_WIDTH, ages, init)

  def begin_with(
    self,
    counts: np.ndarray,
    warm: WarmStart | None,
    neighbors: Neighbors | None = None,
  ) -> None:
    """Tells how often items occur in training, and where to start.

    Args:
      counts: [I] float64, training events of item 1..I.
      warm: Factors of the item table, or None: as initialized.
      neighbors: Factors of what stands near, or None: without.
    """
    self.features.begin_with(counts, warm)
    if warm is not None:
      self.fism_scale.assign(np.log(warm.scale))
    if neighbors is not None:
      self.neighbors.begin_with(neighbors)

  def rate_factors(self) -> list[tuple[tf.Variable, float]]:
    return self.features.rate_factors()

  def history_embedding(self, history: History) -> tf.Tensor:
    return self.features(history)

  def item_embedding(
    self, items: Items, phase: Phase, weights: tf.Tensor | None = None
  ) -> tf.Tensor:
    return self.candidate_embedding(items, None)

  def candidate_embedding(self, items: Items, noise: Noise | None) -> tf.Tensor:
    """Returns e, [..., D] float32, of items some of which are hidden.

    With noise, in training, without the neighbors' share.
    """
    hidden = _hidden(items, noise)
    x = self.tower_norm(self.tower_1(self.features(items, hidden)))
    parts = [self.tower_2(self.tower_prelu(x))]
    if self.spec.fism:
      parts.append(self.features.factor_out(items, hidden))
    if self.spec.neighbors and noise is None:
      parts.append(self.neighbors.of_items(items))
    return tf.concat(parts, axis=-1)

  def item_state(
    self, items: Items | None, item_embedding: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    assert items is not None
    return self.candidate_state(items, item_embedding, None)

  def candidate_state(
    self, items: Items, item_embedding: tf.Tensor, noise: Noise | None
  ) -> dict[str, tf.Tensor]:
    """Returns the item state of items some of which are hidden."""
    state = {
      "vector": item_embedding,
      "bias": self.features.bias(items, _hidden(items, noise)),
    }
    if self.spec.attention_term:
      state |= self.attention.item_state(item_embedding[..., :_WIDTH])
    if self.spec.repeats:
      state["item_id"] = tf.cast(items.item_ids, tf.int32)
      state["category_id"] = tf.cast(items.category_ids, tf.int32)
    return state

  def user_state(
    self, history: History | None, history_embedding: tf.Tensor, phase: Phase
  ) -> dict[str, tf.Tensor]:
    assert history is not None
    history, embedding = _without_padding(history, history_embedding)
    hidden, valid = self._encoded(embedding, None), _valid(history)
    count = tf.reduce_sum(tf.cast(valid, tf.int32), axis=1)
    at_last = tf.gather(hidden, tf.maximum(count - 1, 0), batch_dims=1)
    ages = ages_after(count, tf.shape(valid)[1])[:, None]
    vector = self._vectors(history, hidden, at_last[:, None], ages, None)
    some = tf.cast(count > 0, tf.float32)[:, None]
    state = {"vector": vector[:, 0] * some}
    if self.spec.attention_term:
      state |= self.attention.user_state(hidden, valid, count)
    if self.spec.repeats:
      state |= self.categories.user_state(history, valid, count)
      state |= self.repeats.user_state(history, valid, count, at_last)
    return state

  def score(
    self,
    user_state: dict[str, tf.Tensor],
    item_state: dict[str, tf.Tensor],
    phase: Phase,
  ) -> tf.Tensor:
    product = tf.matmul(item_state["vector"], user_state["vector"][..., None])
    scores = product[..., 0] + item_state["bias"]
    if self.spec.attention_term:
      scores += self.attention.score(user_state, item_state)
    if self.spec.repeats:
      scores += self.categories.score(user_state, item_state)
      scores = self.repeats.add(scores, user_state, item_state)
    return scores

  def parts(self) -> ScoringParts:
    network = TermNetwork(
      max_logit=terms.MAX_LOGIT,
      query_width=_ATTENTION if self.spec.attention_term else 0,
    )
    return super().parts()._replace(network=network)

  def positions(self, history: History, noise: Noise | None) -> Positions:
    """Returns what is known after each position of histories [B, L]."""
    embedding = self.features(history, _hidden(history, noise))
    hidden = self._encoded(embedding, noise)
    ages = ages_between(tf.shape(hidden)[1])[None]
    vector = self._vectors(history, hidden, hidden, ages, noise)
    return Positions(history, _valid(history), vector, hidden)

  def score_shared(
    self, places: Positions, state: dict[str, tf.Tensor]
  ) -> tf.Tensor:
    """Returns [B, L, N]: scores of the same items after every position.

    Args:
      places: Of histories [B, L].
      state: Item states of items [N].
    """
    vector = tf.reshape(places.vector, [-1, places.vector.shape[-1]])
    scores = tf.matmul(vector, state["vector"], transpose_b=True)
    shape = tf.concat([tf.shape(places.valid), tf.shape(state["bias"])], axis=0)
    scores = tf.reshape(scores, shape) + state["bias"]
    own = tf.nest.map_structure(lambda x: x[None], state)
    return self._with_terms(scores, places, own, terms.after_each_position)

  def score_next(
    self, places: Positions, state: dict[str, tf.Tensor]
  ) -> tf.Tensor:
    """Returns [B, L]: scores of another item after each position.

    Args:
      places: Of histories [B, L].
      state: Item states of items [B, L].
    """
    scores = tf.reduce_sum(places.vector * state["vector"], axis=-1)
    scores += state["bias"]
    return self._with_terms(scores, places, state, terms.after_own_position)

  def _with_terms(
    self,
    scores: tf.Tensor,
    places: Positions,
    state: dict[str, tf.Tensor],
    sums: terms.Sums,
  ) -> tf.Tensor:
    if self.spec.attention_term:
      scores += self.attention.at_positions(
        places.hidden, places.valid, state, sums
      )
    if self.spec.repeats:
      history, valid = places.history, places.valid
      scores += self.categories.at_positions(history, valid, state, sums)
      scores = self.repeats.add_at_positions(
        scores, history, valid, places.hidden, state, sums
      )
    return scores

  def _encoded(self, embedding: tf.Tensor, noise: Noise | None) -> tf.Tensor:
    """Returns [B, L, 128] float32: what is known at each position."""
    x = self.input(embedding)
    if not self.spec.encoder:
      return x
    dropout = Dropout(
      0.0 if noise is None else noise.dropout,
      None if noise is None else noise.seed,
    )
    last = self.position.shape[0] - 1
    places = tf.minimum(tf.range(tf.shape(x)[1]), last)
    return self.block(dropout(x + tf.gather(self.position, places)), dropout)

  def _vectors(
    self,
    history: Items,
    hidden: tf.Tensor,
    own: tf.Tensor,
    ages: tf.Tensor,
    noise: Noise | None,
  ) -> tf.Tensor:
    """Returns [B, T, D] float32: what meets items after some positions.

    Args:
      history: Items [B, L].
      hidden: [B, L, 128] float32, of `_encoded`.
      own: [B, T, 128] float32, of these positions.
      ages: [B or 1, T, L] int32, how long before each of them position l lies.
      noise: Of training, or None.
    """
    valid = _valid(history)
    weights = self.ages.at(ages)
    total = tf.maximum(tf.matmul(weights, valid[..., None]), 1e-6)
    if not self.spec.encoder:
      own = tf.matmul(weights, hidden * valid[..., None]) / total
    parts = [self.out(own)]
    if self.spec.fism:
      factors = self.features.factor_in(history, _hidden(history, noise))
      scale = tf.exp(self.fism_scale) * tf.math.rsqrt(total)
      parts.append(tf.matmul(weights, factors) * scale)
    if self.spec.neighbors and noise is None:
      parts.append(self.neighbors.after_positions(history, valid, ages))
    return tf.concat(parts, axis=-1)


def _valid(history: Items) -> tf.Tensor:
  """Returns [B, L] float32, 0 for padding."""
  return tf.cast(history.item_ids > 0, tf.float32)


def _without_padding(
  history: Items, embedding: tf.Tensor
) -> tuple[Items, tf.Tensor]:
  """Cuts off, at the end, positions that are padding for all users.

  What is left is a multiple of 8, where it can be: oneDNN plans its work anew
  for each length.
  """
  taken = tf.reduce_any(history.item_ids > 0, axis=0)
  places = tf.where(taken, tf.range(1, tf.shape(taken)[0] + 1), 1)
  length = (tf.reduce_max(places) + 7) // 8 * 8
  cut = Items(*(ids[:, :length] for ids in history))
  return cut, embedding[:, :length]


def _hidden(items: Items, noise: Noise | None) -> tf.Tensor | None:
  """Returns [...] bool: the item's identity is hidden; None: nobody's is."""
  if noise is None or noise.oov_dropout == 0.0:
    return None
  return terms.is_drawn(items.item_ids, noise.seed, noise.oov_dropout)
