import keras
import numpy as np
import pytest
import tensorflow as tf

from nann.model import layers
from nann.model.layers import BatchNorm, Block, Initializer, PairMlp, Phase


def randomized(norm: BatchNorm, seed: int = 0) -> BatchNorm:
  rng = np.random.default_rng(seed)
  for variable in (norm.gamma, norm.beta, norm.mean):
    variable.assign(rng.normal(size=variable.shape))
  norm.variance.assign(rng.uniform(0.5, 2.0, norm.variance.shape))
  return norm


def sample(*shape: int) -> tf.Tensor:
  values = np.random.default_rng(7).normal(2.0, 3.0, shape)
  return tf.constant(values, tf.float32)


@pytest.mark.parametrize("phase", list(Phase))
def test_batch_norm_agrees_with_keras(phase: Phase) -> None:
  ours = randomized(BatchNorm(5))
  theirs = keras.layers.BatchNormalization(epsilon=1e-3, momentum=0.99)
  x = sample(6, 4, 5)
  theirs.build(x.shape)
  theirs.set_weights(
    [v.numpy() for v in (ours.gamma, ours.beta)]
    + [v.numpy() for v in (ours.mean, ours.variance)]
  )
  expected = theirs(x, training=phase != Phase.INFERENCE)
  np.testing.assert_allclose(ours(x, phase), expected, atol=2e-5)
  if phase == Phase.TRAIN:
    np.testing.assert_allclose(ours.mean, theirs.moving_mean, atol=1e-5)
    np.testing.assert_allclose(ours.variance, theirs.moving_variance, atol=1e-4)


def test_only_training_moves_the_averages() -> None:
  norm = randomized(BatchNorm(5))
  before = norm.mean.numpy(), norm.variance.numpy()
  for phase in (Phase.INFERENCE, Phase.PERTURBED):
    norm(sample(9, 5), phase)
    np.testing.assert_array_equal(norm.mean, before[0])
    np.testing.assert_array_equal(norm.variance, before[1])
  norm(sample(9, 5), Phase.TRAIN)
  assert (norm.mean.numpy() != before[0]).all()


def test_weights_count_like_repeated_rows() -> None:
  x, counts = sample(4, 5), np.array([1, 3, 2, 5])
  weighted, repeated = BatchNorm(5), BatchNorm(5)
  once = weighted(x, Phase.TRAIN, tf.constant(counts, tf.float32))
  often = repeated(np.repeat(x, counts, axis=0), Phase.TRAIN)
  np.testing.assert_allclose(np.repeat(once, counts, axis=0), often, atol=1e-5)
  np.testing.assert_allclose(weighted.mean, repeated.mean, atol=1e-6)
  np.testing.assert_allclose(weighted.variance, repeated.variance, atol=1e-5)


def test_linear_is_a_matrix_product_over_the_last_axis() -> None:
  x, kernel = sample(3, 4, 5), sample(5, 2)
  expected = np.einsum("abi,io->abo", x, kernel)
  np.testing.assert_allclose(layers.linear(x, kernel), expected, rtol=1e-5)


def test_prelu_has_a_slope_below_zero() -> None:
  prelu = layers.PReLU(tf.constant([0.5, 2.0]))
  got = prelu(tf.constant([[-2.0, -3.0], [4.0, 5.0]]))
  assert got.numpy().tolist() == [[-1.0, -6.0], [4.0, 5.0]]


def test_gradients_of_prelu_are_those_of_its_definition() -> None:
  rng = np.random.default_rng(0)
  prelu = layers.PReLU(tf.Variable(rng.standard_normal(4).astype(np.float32)))
  x = tf.Variable(rng.standard_normal((2, 3, 4)).astype(np.float32))
  x[0, 0].assign(tf.zeros(4))
  dy = tf.constant(rng.standard_normal((2, 3, 4)).astype(np.float32))
  with tf.GradientTape(persistent=True) as tape:
    ours = prelu(x)
    plain = tf.nn.relu(x) + prelu.slope * tf.minimum(x, 0.0)
  np.testing.assert_array_equal(ours, plain)
  for variable in (x, prelu.slope):
    np.testing.assert_allclose(
      tape.gradient(ours, variable, output_gradients=dy),
      tape.gradient(plain, variable, output_gradients=dy),
      rtol=1e-6,
    )


def test_folded_block_equals_the_block() -> None:
  block = Block.create(5, 7, Initializer(0), "b")
  assert block.norm is not None
  randomized(block.norm)
  x = sample(3, 4, 5)
  got = block.folded()(x, Phase.INFERENCE)
  np.testing.assert_allclose(got, block(x, Phase.INFERENCE), atol=1e-4)


def test_pair_mlp_is_an_mlp_on_the_joined_vectors() -> None:
  mlp = PairMlp.create(3, 4, (6, 5), Initializer(0))
  for seed, block in enumerate(mlp.blocks):
    assert block.norm is not None
    randomized(block.norm, seed)
  user, item = sample(2, 1, 3), sample(2, 8, 4)
  joined = tf.concat([np.tile(user, (1, 8, 1)), item], axis=-1)
  x = joined
  for block in mlp.blocks:
    x = block(x, Phase.INFERENCE)
  expected = mlp.out(x)[..., 0]
  for version in (mlp, mlp.folded()):
    hidden = version.user_part(user) + version.item_part(item)
    got = version(hidden, Phase.INFERENCE)
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_initial_values_depend_on_seed_and_place() -> None:
  first, again, other = Initializer(1), Initializer(1), Initializer(2)
  a = first.glorot_uniform([4, 4]).numpy()
  assert (a == again.glorot_uniform([4, 4]).numpy()).all()
  assert (a != first.glorot_uniform([4, 4]).numpy()).any()
  assert (a != other.glorot_uniform([4, 4]).numpy()).any()
