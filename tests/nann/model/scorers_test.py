import numpy as np
import pytest
import tensorflow as tf

from nann.model import attention, layers
from nann.model import scorer as scorers
from nann.model.layers import Phase
from nann.model.scorer import Items, Scorer, ScorerSpec

OURS = ["attention", "nann_plus", "dnn", "two_tower"]
ZOO = [*OURS, "examples.keras_scorer:KerasScorer"]
SPEC = ScorerSpec(num_items=50, num_categories=7, emb_dim=4, seed=3)


def make(name: str, spec: ScorerSpec = SPEC) -> Scorer:
  """A scorer whose every weight matters: batch norms are no identities."""
  scorer = scorers.create(name, spec)
  rng = np.random.default_rng(0)
  for module in scorer.submodules:
    if isinstance(module, layers.BatchNorm):
      module.mean.assign(rng.normal(size=module.mean.shape) / 5)
      module.variance.assign(rng.uniform(0.02, 0.2, module.variance.shape))
      module.gamma.assign(rng.uniform(0.5, 1.5, module.gamma.shape))
  return scorer


def items(*ids: object) -> Items:
  item_ids = np.array(ids, dtype=np.int64)
  return Items(
    tf.constant(item_ids),
    tf.constant(np.where(item_ids > 0, item_ids % 7 + 1, 0)),
  )


HISTORY = items([3, 9, 27, 0, 0], [8, 8, 1, 50, 2], [0, 0, 0, 0, 0])


def scores(scorer: Scorer, parts: scorers.ScoringParts) -> np.ndarray:
  """Scores of all items for HISTORY, [3, 50]."""
  everything = items(*range(1, 51))
  embedding = scorer.item_embedding(everything, Phase.INFERENCE)
  state = parts.item_state(everything, embedding)
  user = parts.user_state(HISTORY, scorer.history_embedding(HISTORY))
  shared = tf.nest.map_structure(lambda x: x[None], state)
  return parts.score(user, shared).numpy()


@pytest.mark.parametrize("name", ZOO)
def test_folded_equals_unfolded(name: str) -> None:
  scorer = make(name)
  plain = scores(scorer, Scorer.parts(scorer))
  folded = scores(scorer, scorer.parts())
  assert plain.shape == (3, 50)
  assert np.ptp(plain) > 0
  np.testing.assert_allclose(folded, plain, atol=1e-4 * np.ptp(plain))


@pytest.mark.parametrize("name", ZOO)
def test_items_of_each_user_score_like_shared_items(name: str) -> None:
  scorer = make(name)
  everything = items(*range(1, 51))
  embedding = scorer.item_embedding(everything, Phase.INFERENCE)
  user = scorer.user_state(
    HISTORY, scorer.history_embedding(HISTORY), Phase.INFERENCE
  )
  own = tf.nest.map_structure(
    lambda x: tf.repeat(x[None], 3, axis=0),
    scorer.item_state(everything, embedding),
  )
  got = scorer.score(user, own, Phase.INFERENCE)
  np.testing.assert_allclose(
    got, scores(scorer, Scorer.parts(scorer)), rtol=1e-4, atol=1e-5
  )


@pytest.mark.parametrize("name", ZOO)
def test_empty_history_has_finite_scores(name: str) -> None:
  scorer = make(name)
  assert np.isfinite(scores(scorer, scorer.parts())[2]).all()


@pytest.mark.parametrize("name", OURS)
def test_more_padding_changes_nothing(name: str) -> None:
  scorer = make(name)
  everything = items(*range(1, 51))
  embedding = scorer.item_embedding(everything, Phase.INFERENCE)

  def of(history: Items) -> np.ndarray:
    user = scorer.user_state(
      history, scorer.history_embedding(history), Phase.INFERENCE
    )
    state = tf.nest.map_structure(
      lambda x: x[None], scorer.item_state(everything, embedding)
    )
    return scorer.score(user, state, Phase.INFERENCE).numpy()

  short, long = items([3, 9, 27]), items([3, 9, 27] + 20 * [0])
  np.testing.assert_allclose(of(short), of(long), atol=1e-5)


def test_padding_counts_where_the_original_counts_it() -> None:
  masked = make("attention")
  spec = ScorerSpec(50, 7, emb_dim=4, seed=3, mask_padding=False)
  unmasked = make("attention", spec)
  a = scores(masked, masked.parts())
  b = scores(unmasked, unmasked.parts())
  assert np.abs(a[0] - b[0]).max() > 1e-4  # Has padding.
  np.testing.assert_allclose(a[1], b[1], atol=1e-6)  # Has none.


def naive_attention_scores(
  scorer: attention.AttentionScorer, mask: bool
) -> np.ndarray:
  """The network as the paper draws it, with the (B, N, L, D) product."""
  everything = items(*range(1, 51))
  e = scorer.item_embedding(everything, Phase.INFERENCE)
  h = scorer.history_embedding(HISTORY)
  q = scorer.query_2(scorer.query_prelu(scorer.query_1(e))).numpy()
  k = scorer.key_2(scorer.key_prelu(scorer.key_1(h))).numpy()
  logits = (q[None, :, None] * k[:, None]).sum(-1) / 16  # [B, N, L]
  present = HISTORY.item_ids.numpy() > 0
  if mask:
    logits = np.where(present[:, None], logits, -np.inf)
  with np.errstate(invalid="ignore"):
    weight = np.exp(logits - logits.max(-1, keepdims=True))
    weight = np.nan_to_num(weight / weight.sum(-1, keepdims=True))
  attended = (weight[..., None] * h.numpy()[:, None]).sum(2)  # [B, N, H]
  e = np.broadcast_to(e, (3, *e.shape))
  x = tf.constant(np.concatenate([attended, e], axis=-1), tf.float32)
  for block in scorer.mlp.blocks:
    x = block(x, Phase.INFERENCE)
  return scorer.mlp.out(x)[..., 0].numpy()


@pytest.mark.parametrize("mask", [True, False])
def test_split_attention_equals_the_network_as_drawn(mask: bool) -> None:
  spec = ScorerSpec(50, 7, emb_dim=4, seed=3, mask_padding=mask)
  scorer = make("attention", spec)
  assert isinstance(scorer, attention.AttentionScorer)
  expected = naive_attention_scores(scorer, mask)
  np.testing.assert_allclose(
    scores(scorer, scorer.parts()), expected, atol=1e-4 * np.ptp(expected)
  )


@pytest.mark.parametrize("name", ["attention", "dnn", "two_tower"])
def test_no_tensor_has_users_items_positions_and_widths(name: str) -> None:
  """The (B, N, L, D) product of the original must not come back."""
  scorer = make(name)

  @tf.function
  def gradient(candidates: tf.Tensor) -> list:
    with tf.GradientTape() as tape:
      user = scorer.user_state(
        HISTORY, scorer.history_embedding(HISTORY), Phase.TRAIN
      )
      mine = Items(candidates, candidates % 7 + 1)
      e = scorer.item_embedding(mine, Phase.TRAIN)
      state = scorer.item_state(mine, e)
      total = tf.reduce_sum(scorer.score(user, state, Phase.TRAIN))
    return tape.gradient(total, scorer.all_trainable_variables())

  graph = gradient.get_concrete_function(tf.TensorSpec([3, 11], tf.int64)).graph
  ranks = [
    output.shape.rank for op in graph.get_operations() for output in op.outputs
  ]
  assert max(rank for rank in ranks if rank is not None) == 3


def test_variables_of_keras_layers_are_found() -> None:
  scorer = make("examples.keras_scorer:KerasScorer")
  # Two tables, two dense layers with bias, one without, and a GRU.
  assert len(scorer.all_trainable_variables()) == 2 + 2 + 2 + 1 + 3


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_found_once(name: str) -> None:
  found = make(name).all_trainable_variables()
  assert len(found) == len({id(variable) for variable in found})
  assert len(found) == len(make(name).trainable_variables)


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("nothing", "wanted one of attention, dnn, nann_plus, two_tower"),
    ("no.such.module:Scorer", "No module named"),
    ("nann.model.dnn:Missing", "has no attribute"),
    ("nann.model.layers:Dense", "wanted a subclass"),
  ],
)
def test_unknown_scorer_is_refused(name: str, message: str) -> None:
  with pytest.raises(ValueError, match=message):
    scorers.create(name, SPEC)
