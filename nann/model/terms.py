"""Terms of a score that need each pair of a position and an item.

Each term exists twice: for a user's whole history, as the search asks, and
after each of its positions, as training asks. The second is the same sum with
the weights of the ages as a matrix, so that it costs one product instead of a
tensor with another axis.
"""

from collections.abc import Callable

import tensorflow as tf

from nann.model.encoder import AgeWeights, ages_after, ages_between
from nann.model.layers import Dense, Initializer
from nann.model.scorer import Items

_MASKED_LOGIT = -1e9
MAX_LOGIT = 10.0

# (weights of positions l after t [L, L], values of item and position) -> sums:
# see `after_each_position` and `after_own_position`.
Sums = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def after_each_position(weights: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
  """Returns [B, L, N] of values [B, N, L]: every item after every position."""
  return tf.einsum("tl,bnl->btn", weights, values)


def after_own_position(weights: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
  """Returns [B, L] of values [B, L, L]: item t after position t."""
  return tf.reduce_sum(weights * values, axis=-1)


def is_drawn(item_ids: tf.Tensor, seed: tf.Tensor, rate: float) -> tf.Tensor:
  """Returns [...] bool: a share of all items, another one for each seed.

  A hash of id and seed: the same item is drawn everywhere or nowhere.

  Source: the finalizer of SplitMix64 (Steele, Lea & Flood 2014).
  """
  x = (tf.cast(item_ids, tf.int64) + 1) * -7046029254386353131
  x += (tf.cast(seed, tf.int64) + 1) * -4417276706812531889
  x = tf.bitwise.bitwise_xor(x, _shifted(x, 30)) * -4658895280553007687
  x = tf.bitwise.bitwise_xor(x, _shifted(x, 27)) * -7723592293110705685
  x = tf.bitwise.bitwise_and(_shifted(x, 31), (1 << 24) - 1)
  return tf.cast(x, tf.float32) < rate * (1 << 24)


def _shifted(x: tf.Tensor, bits: int) -> tf.Tensor:
  return tf.bitwise.right_shift(x, tf.constant(bits, tf.int64))


class AttentionTerm(tf.Module):
  """Positions answer an item; the item and their age say who is listened to."""

  def __init__(
    self, width: int, inner: int, max_age: int, init: Initializer
  ) -> None:
    super().__init__(name="attention_term")
    self.key = Dense.create(width, inner, init, "key", use_bias=False)
    self.value = Dense.create(width, inner, init, "value", use_bias=False)
    self.query = Dense.create(width, inner, init, "query", use_bias=False)
    self.reply = Dense.create(width, inner, init, "reply", use_bias=False)
    # Starts as nearly nothing.
    self.value.kernel.assign(self.value.kernel * 0.1)
    self.query.kernel.assign(self.query.kernel * 0.3)
    self.ages = AgeWeights(max_age, 1e6, 0.0)

  def item_state(self, tower: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns the state of items with the tower's output [..., W]."""
    return {"query": self.query(tower), "reply": self.reply(tower)}

  def user_state(
    self, hidden: tf.Tensor, valid: tf.Tensor, count: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """Returns keys [B, W, L], logits of ages [B, L] and values [B, L, W]."""
    logits = self.ages.after(count, tf.shape(valid)[1])
    return {
      "keys": tf.transpose(self.key(hidden), [0, 2, 1]),
      "key_logits": logits * valid + (1.0 - valid) * _MASKED_LOGIT,
      "values": self.value(hidden * valid[..., None]),
    }

  def score(
    self, user_state: dict[str, tf.Tensor], item_state: dict[str, tf.Tensor]
  ) -> tf.Tensor:
    """Returns [B, N]."""
    logits = _bounded(tf.matmul(item_state["query"], user_state["keys"]))
    weights = tf.nn.softmax(logits + user_state["key_logits"][:, None])
    answers = tf.matmul(
      item_state["reply"], user_state["values"], transpose_b=True
    )
    return tf.reduce_sum(weights * answers, axis=-1)

  def at_positions(
    self,
    hidden: tf.Tensor,
    valid: tf.Tensor,
    item_state: dict[str, tf.Tensor],
    sums: Sums,
  ) -> tf.Tensor:
    """Returns [B, L, N] or [B, L], as `sums` says."""
    shared = tf.shape(hidden)[0] // tf.shape(item_state["query"])[0]
    query = tf.tile(item_state["query"], [shared, 1, 1])
    reply = tf.tile(item_state["reply"], [shared, 1, 1])
    logits = tf.matmul(query, self.key(hidden), transpose_b=True)
    mass = tf.exp(_bounded(logits)) * valid[:, None]  # [B, N, L]
    answers = tf.matmul(reply, self.value(hidden), transpose_b=True)
    weights = self.ages.between(tf.shape(valid)[1])
    return sums(weights, mass * answers) / (sums(weights, mass) + 1e-9)


class CategoryTerm(tf.Module):
  """A weight for each position with an item of the same category."""

  def __init__(self, max_age: int) -> None:
    super().__init__(name="category_term")
    self.weights = tf.Variable(0.3 / (1 + tf.range(float(max_age)) / 10))

  def user_state(
    self, history: Items, valid: tf.Tensor, count: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """Returns category ids [B, L] int32 and their weights [B, L]."""
    ages = ages_after(count, tf.shape(valid)[1])
    return {
      "category_ids": tf.cast(history.category_ids, tf.int32),
      "category_weights": self._weight(tf.maximum(ages, 0)) * valid,
    }

  def score(
    self, user_state: dict[str, tf.Tensor], item_state: dict[str, tf.Tensor]
  ) -> tf.Tensor:
    """Returns [B, N]."""
    same = _same(item_state["category_id"], user_state["category_ids"])
    return tf.linalg.matvec(same, user_state["category_weights"])

  def at_positions(
    self,
    history: Items,
    valid: tf.Tensor,
    item_state: dict[str, tf.Tensor],
    sums: Sums,
  ) -> tf.Tensor:
    """Returns [B, L, N] or [B, L], as `sums` says."""
    same = _same(
      item_state["category_id"], tf.cast(history.category_ids, tf.int32)
    )
    ages = ages_between(tf.shape(valid)[1])
    weights = tf.where(ages >= 0, self._weight(tf.maximum(ages, 0)), 0.0)
    return sums(weights, same * valid[:, None])

  def _weight(self, ages: tf.Tensor) -> tf.Tensor:
    return tf.gather(self.weights, tf.minimum(ages, self.weights.shape[0] - 1))


class RepeatTerm(tf.Module):
  """The mass of an item's repetition, beside what else speaks for it."""

  def __init__(self, width: int, max_age: int, init: Initializer) -> None:
    super().__init__(name="repeat_term")
    self.ages = AgeWeights(max_age, 2.0, 4.5)
    self.gate = Dense.create(width, 1, init, "gate", use_bias=False)
    self.gate.kernel.assign(tf.zeros_like(self.gate.kernel))

  def user_state(
    self, history: Items, valid: tf.Tensor, count: tf.Tensor, last: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """Returns item ids [B, L] int32 and the mass of each position [B, L]."""
    logits = self.ages.after(count, tf.shape(valid)[1]) + self.gate(last)
    return {
      "item_ids": tf.cast(history.item_ids, tf.int32),
      "repeat_mass": tf.exp(logits) * valid,
    }

  def add(
    self,
    scores: tf.Tensor,
    user_state: dict[str, tf.Tensor],
    item_state: dict[str, tf.Tensor],
  ) -> tf.Tensor:
    """Returns scores [B, N] with the mass of repetitions."""
    same = _same(item_state["item_id"], user_state["item_ids"])
    mass = tf.linalg.matvec(same, user_state["repeat_mass"])
    return _with_mass(scores, mass, 0.0)

  def add_at_positions(
    self,
    scores: tf.Tensor,
    history: Items,
    valid: tf.Tensor,
    hidden: tf.Tensor,
    item_state: dict[str, tf.Tensor],
    sums: Sums,
  ) -> tf.Tensor:
    """Returns scores [B, L, N] or [B, L] with the mass of repetitions."""
    same = _same(item_state["item_id"], tf.cast(history.item_ids, tf.int32))
    weights = self.ages.between(tf.shape(valid)[1])
    mass = sums(weights, same * valid[:, None])
    gate = self.gate(hidden)  # [B, L, 1]
    return _with_mass(scores, mass, gate[..., 0] if _is_own(scores) else gate)


def _is_own(scores: tf.Tensor) -> bool:
  return scores.shape.rank == 2


def _bounded(logits: tf.Tensor) -> tf.Tensor:
  """Returns logits within +-10, so that their exp needs no maximum."""
  return MAX_LOGIT * tf.tanh(logits / MAX_LOGIT)


def _same(item_side: tf.Tensor, user_side: tf.Tensor) -> tf.Tensor:
  """Returns [B, N, L] float32 of ids [B or 1, N] and [B, L]: 1 where equal."""
  return tf.cast(item_side[..., None] == user_side[:, None], tf.float32)


def _with_mass(
  scores: tf.Tensor, mass: tf.Tensor, log_factor: tf.Tensor | float
) -> tf.Tensor:
  """Returns log(exp(scores) + mass exp(log_factor)); scores where mass is 0."""
  some = mass > 0
  log_mass = tf.math.log(tf.where(some, mass, 1.0)) + log_factor
  return tf.where(some, scores + tf.nn.softplus(log_mass - scores), scores)
