"""What is known of an item: table rows, category, frequency, factors.

An item that training never saw, or whose identity is hidden for a step, is its
category, its frequency and one shared row for the unknown.
"""

import numpy as np
import tensorflow as tf

from nann.model import layers
from nann.model.scorer import Items, ScorerSpec
from nann.model.tables import rows_of
from nann.model.warm_start import WarmStart

_CATEGORY_WIDTH = 32
# A warm table is mostly right; a learning rate made for noise would wipe it
# out. The biases of rare items, seen a few times, must not move far either.
_WARM_RATE, _BIAS_RATE = 0.1, 0.3
_UNSEEN_COUNT = 0.5


class ItemFeatures(tf.Module):
  """Tables by item id and by category id.

  Attributes:
    width: Of the features of an item.
  """

  def __init__(self, spec: ScorerSpec, init: layers.Initializer) -> None:
    super().__init__(name="item_features")
    rows = spec.num_items + 1
    factor_width = 2 * spec.emb_dim
    self.width = factor_width + _CATEGORY_WIDTH
    self._warm = spec.warm_start

    def zeros(
      shape: list[int], name: str, trainable: bool = True
    ) -> tf.Variable:
      return tf.Variable(tf.zeros(shape), trainable=trainable, name=name)

    self.item = tf.Variable(
      init.truncated_normal([rows, factor_width], factor_width**-0.5),
      name="ht_item",
    )
    self.category = tf.Variable(
      init.truncated_normal(
        [spec.num_categories + 1, _CATEGORY_WIDTH], _CATEGORY_WIDTH**-0.5
      ),
      name="ht_cate",
    )
    self.unknown = zeros([factor_width], "unknown_item")
    self.gain_in = zeros([rows], "gain_in")
    self.gain_out = zeros([rows], "gain_out")
    self.learned_bias = zeros([rows], "item_bias")
    self.prior = zeros([rows], "item_prior", trainable=False)
    self.known = tf.Variable(
      tf.ones([rows]), trainable=False, name="item_known"
    )

  def begin_with(self, counts: np.ndarray, warm: WarmStart | None) -> None:
    """Takes [I] training events of each item, and factors or None."""
    frequency = np.log((counts + _UNSEEN_COUNT) / max(counts.mean(), 1e-9))
    self.prior.assign(np.concatenate([[0.0], frequency]).astype(np.float32))
    self.known.assign(np.concatenate([[0.0], counts > 0]).astype(np.float32))
    if warm is not None:
      self.item.assign(warm.directions)
      self.gain_in.assign(warm.gain_in)
      self.gain_out.assign(warm.gain_out)

  def rate_factors(self) -> list[tuple[tf.Variable, float]]:
    """Returns factors of the learning rate of some variables."""
    factors = [(self.learned_bias, _BIAS_RATE)]
    if self._warm:
      tables = (self.item, self.gain_in, self.gain_out)
      factors += [(table, _WARM_RATE) for table in tables]
    return factors

  def __call__(
    self, items: Items, hidden: tf.Tensor | None = None
  ) -> tf.Tensor:
    """Returns [..., width] float32, zero for padding.

    Args:
      items: Items [...].
      hidden: [...] bool, whose identity is hidden; None: nobody's.
    """
    known = self._known(items, hidden)[..., None]
    row = rows_of(self.item, items.item_ids) * known
    row += self.unknown * (1.0 - known)
    category = rows_of(self.category, items.category_ids)
    present = tf.cast(items.item_ids > 0, tf.float32)[..., None]
    return tf.concat([row, category], axis=-1) * present

  def factor_in(self, items: Items, hidden: tf.Tensor | None) -> tf.Tensor:
    """Returns [..., F]: an item of a history in the sum of factors."""
    return self._factor(items, hidden, self.gain_in)

  def factor_out(self, items: Items, hidden: tf.Tensor | None) -> tf.Tensor:
    """Returns [..., F]: what the sum of factors is multiplied with."""
    return self._factor(items, hidden, self.gain_out)

  def bias(self, items: Items, hidden: tf.Tensor | None) -> tf.Tensor:
    """Returns [...]: log frequency and what was learned beside it."""
    learned = rows_of(self.learned_bias, items.item_ids)
    known = self._known(items, hidden)
    return rows_of(self.prior, items.item_ids) + learned * known

  def _factor(
    self, items: Items, hidden: tf.Tensor | None, gain: tf.Variable
  ) -> tf.Tensor:
    weight = tf.exp(rows_of(gain, items.item_ids))
    weight *= self._known(items, hidden)
    return rows_of(self.item, items.item_ids) * weight[..., None]

  def _known(self, items: Items, hidden: tf.Tensor | None) -> tf.Tensor:
    """Returns [...] float32: 1 for items with a row of their own; padding 0."""
    known = rows_of(self.known, items.item_ids)
    known *= tf.cast(items.item_ids > 0, tf.float32)
    return known if hidden is None else known * tf.cast(~hidden, tf.float32)
