"""What a scorer is: three parts and a function, and where to find one.

The split is what makes the search cheap: an item's state is computed once when
the model is exported, a user's state once for a request, and only `score` runs
inside the search.
"""

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from nann.model.layers import PairMlp, Phase


class Items(NamedTuple):
  """Items as a scorer sees them.

  Attributes:
    item_ids: [...] int64, 0 = padding.
    category_ids: [...] int64, 0 = padding.
  """

  item_ids: tf.Tensor
  category_ids: tf.Tensor


# A history is items of shape [B, L], oldest first, padded with 0 at the end.
History = Items


class HistoryNetwork(NamedTuple):
  """A user part of a form that can run as one op: attention over a history.

    hidden   = prelu(history_embedding first + first_bias, slope)
    keys     = hidden second + second_bias; the last column is the key bias
    values   = history_embedding values

  Attributes:
    first: [H, A]; first_bias, slope: [A].
    second: [A, Q + 1]; second_bias: [Q + 1].
    values: [H, W].
    mask_padding: Padding gets a very low key bias.
  """

  first: tf.Tensor
  first_bias: tf.Tensor
  slope: tf.Tensor
  second: tf.Tensor
  second_bias: tf.Tensor
  values: tf.Tensor
  mask_padding: bool


class PairNetwork(NamedTuple):
  """A pair part of a form that can run as one op: attention, then an MLP.

    x     = item hidden + softmax(query keys + key_bias) values + user hidden
    x     = prelu(x, slopes[i]) kernels[i] + biases[i]    for each layer i
    score = prelu(x, slopes[-1]) out

  Attributes:
    user: user_state -> keys [B, Q, L], key_bias [B, L], values [B, L, W] (or
      None for all three: no attention), hidden [B, W] (or None).
    items: item_state -> query [..., Q] (or None), hidden [..., W].
    slopes, kernels, biases, out: The weights.
    history: What gives keys, key_bias and values, where it has the form of a
      `HistoryNetwork` (and hidden is None).
  """

  user: Callable[[Any], tuple[tf.Tensor | None, ...]]
  items: Callable[[Any], tuple[tf.Tensor | None, tf.Tensor]]
  slopes: Sequence[tf.Tensor]
  kernels: Sequence[tf.Tensor]
  biases: Sequence[tf.Tensor]
  out: tf.Tensor
  history: HistoryNetwork | None = None


class TermNetwork(NamedTuple):
  """A pair part of a form that can run as one op: a sum of terms, and a mass.

    s     = item vector . user vector + item bias
          + (softmax(bound(query keys) + key_logits) values) . reply
          + sum of category_weights where category_ids is category_id
    mass  = sum of repeat_mass where item_ids is item_id
    score = log(exp(s) + mass)

  with bound(x) = max_logit tanh(x / max_logit). The states are dicts of what
  the formula names: of an item vector [..., D], bias [...], query and reply
  [..., Q], category_id and item_id [...] int32; of a user vector [B, D], keys
  [B, Q, L], key_logits [B, L], values [B, L, Q], and four of [B, L]. They may
  be without what the attention needs, and without what ids say.

  Attributes:
    max_logit: See above.
    query_width: Q; 0: no attention.
  """

  max_logit: float
  query_width: int


class ScoringParts(NamedTuple):
  """A scorer at inference, as the retriever uses it.

  Attributes:
    item_state: (items or None, item_embedding [..., D]) -> nest [..., *].
    user_state: (history or None, history_embedding [B, L, H]) -> nest [B, *].
    score: (user_state, item_state nest [B or 1, N, *]) -> [B, N] float32.
    network: What `score` is, where it has the form of one of these.
  """

  item_state: Callable[[Items | None, tf.Tensor], Any]
  user_state: Callable[[Items | None, tf.Tensor], Any]
  score: Callable[[Any, Any], tf.Tensor]
  network: PairNetwork | TermNetwork | None = None


def mlp_network(
  mlp: PairMlp,
  user: Callable[[Any], tuple[tf.Tensor | None, ...]],
  items: Callable[[Any], tuple[tf.Tensor | None, tf.Tensor]],
  history: HistoryNetwork | None = None,
) -> PairNetwork:
  """Returns the network whose MLP is a folded `PairMlp`."""
  return PairNetwork(
    user=user,
    items=items,
    slopes=[block.prelu.slope for block in mlp.blocks],
    kernels=[block.dense.kernel for block in mlp.blocks[1:]],
    biases=[block.dense.bias for block in mlp.blocks[1:]],
    out=mlp.out.kernel[:, 0],
    history=history,
  )


@dataclasses.dataclass(frozen=True)
class ScorerSpec:
  """What a scorer needs to know when it is made.

  Attributes:
    num_items: I; item ids are 1..I.
    num_categories: C; category ids are 1..C.
    emb_dim: Width of one embedding table.
    mask_padding: Leave padding out of what is said of a history.
    seed: Seed of the initial weights.
    max_length: L, items of a history.
    encoder, fism, attention_term, repeats, neighbors: Parts of `nann_plus`.
    warm_start: The item table of `nann_plus` starts from counting.
  """

  num_items: int
  num_categories: int
  emb_dim: int = 32
  mask_padding: bool = True
  seed: int = 0
  max_length: int = 50
  encoder: bool = True
  fism: bool = True
  attention_term: bool = True
  repeats: bool = True
  neighbors: bool = True
  warm_start: bool = True


class Scorer(tf.Module):
  """Base class of all scorers. Higher scores are better.

  A subclass takes a `ScorerSpec`, makes its variables in `__init__` and says
  what the parts are. Keras layers may be used inside: their variables are found
  too. `phase` tells batch normalization and dropout what a pass is for.
  """

  # True if the parts read embeddings only, never ids: such a scorer can be
  # served from the embeddings of a history alone.
  reads_embeddings_only = False

  def history_embedding(self, history: History) -> tf.Tensor:
    """Returns [B, L, H] float32; all zero exactly where a position is padding.

    Args:
      history: Items [B, L].
    """
    raise NotImplementedError

  def item_embedding(
    self, items: Items, phase: Phase, weights: tf.Tensor | None = None
  ) -> tf.Tensor:
    """Returns e, [..., D] float32: what the graph is built on and FGSM moves.

    Args:
      items: Items [...].
      phase: What the pass is for.
      weights: [...] float32, how often each item occurs in the batch (training
        embeds distinct items once); for statistics over the batch.
    """
    raise NotImplementedError

  def item_state(self, items: Items | None, item_embedding: tf.Tensor) -> Any:
    """Returns a nest of [..., *] tensors: all that `score` needs of an item.

    Args:
      items: Items [...]; None where only embeddings are at hand.
      item_embedding: [..., D] float32.
    """
    return item_embedding

  def user_state(
    self, history: History | None, history_embedding: tf.Tensor, phase: Phase
  ) -> Any:
    """Returns a nest of [B, *] tensors: all that `score` needs of a user.

    Args:
      history: Items [B, L]; None where only embeddings are at hand.
      history_embedding: [B, L, H] float32.
      phase: What the pass is for.
    """
    return history_embedding

  def score(self, user_state: Any, item_state: Any, phase: Phase) -> tf.Tensor:
    """Returns [B, N] float32.

    Args:
      user_state: Nest of [B, *].
      item_state: Nest of [B, N, *], or [1, N, *] for items that all users
        share.
      phase: What the pass is for.
    """
    raise NotImplementedError

  def parts(self) -> "ScoringParts":
    """Returns the three functions for inference.

    A scorer that can do the same in fewer operations (batch normalization
    folded into the weights, say) overrides this; the scores stay the same up
    to rounding.
    """
    phase = Phase.INFERENCE
    return ScoringParts(
      item_state=self.item_state,
      user_state=lambda history, embedding: self.user_state(
        history, embedding, phase
      ),
      score=lambda user_state, item_state: self.score(
        user_state, item_state, phase
      ),
    )

  def rate_factors(self) -> list[tuple[tf.Variable, float]]:
    """Returns variables with what their learning rate is multiplied with."""
    return []

  def all_trainable_variables(self) -> list[tf.Variable]:
    """Returns the variables of the module and of the Keras layers in it."""
    found = list(self.trainable_variables)
    for layer in keras_layers(self):
      found += [variable.value for variable in layer.trainable_variables]
    # A layer may be reachable by two ways.
    return list({id(variable): variable for variable in found}.values())


def keras_layers(module: tf.Module) -> list[Any]:
  """Returns objects in the module's attributes that look like Keras layers."""
  layers: list[Any] = []
  for part in (module, *module.submodules):
    for value in tf.nest.flatten(list(vars(part).values())):
      if hasattr(value, "trainable_variables") and not isinstance(
        value, tf.Module
      ):
        layers.append(value)
  return layers


_ZOO = {
  "attention": "nann.model.attention:AttentionScorer",
  "dnn": "nann.model.dnn:DnnScorer",
  "nann_plus": "nann.model.nann_plus:NannPlusScorer",
  "two_tower": "nann.model.two_tower:TwoTowerScorer",
}


def create(name: str, spec: ScorerSpec) -> Scorer:
  """Makes a scorer by its name in the zoo or as package.module:Class.

  Raises:
    ValueError: There is no such scorer.
  """
  module_name, _, class_name = _ZOO.get(name, name).partition(":")
  if not class_name:
    raise ValueError(
      f"--scorer is {name!r}, wanted one of {', '.join(_ZOO)} or"
      " package.module:Class"
    )
  try:
    scorer_class = getattr(importlib.import_module(module_name), class_name)
  except (ImportError, AttributeError) as error:
    raise ValueError(f"--scorer is {name!r}: {error}") from error
  if not (isinstance(scorer_class, type) and issubclass(scorer_class, Scorer)):
    raise ValueError(
      f"--scorer is {name!r}, wanted a subclass of nann.model.scorer.Scorer"
    )
  return scorer_class(spec)
