import keras
import numpy as np
import pytest
import tensorflow as tf

from nann.model import optimizer

RATE, DECAY = 0.05, 0.01


def start() -> np.ndarray:
  return np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


def gradient(step: int) -> np.ndarray:
  return np.random.default_rng(step).normal(size=(6, 3)).astype(np.float32)


def run(
  gradients: list, decay: float = 0.0, factor: float = 1.0
) -> tuple[tf.Variable, optimizer.LazyAdamW]:
  """Applies gradients (tensors or IndexedSlices), one a step."""
  variable = tf.Variable(start())
  ours = optimizer.LazyAdamW([variable], RATE, decay)
  for step, value in enumerate(gradients):
    ours.apply([value], [variable], tf.constant(step), tf.constant(factor))
  return variable, ours


def slices(values: np.ndarray, rows: list[int]) -> tf.IndexedSlices:
  return tf.IndexedSlices(
    tf.constant(values), tf.constant(rows, tf.int64), tf.constant([6, 3])
  )


def test_dense_update_is_adam() -> None:
  theirs = tf.Variable(start())
  adam = keras.optimizers.Adam(RATE, epsilon=1e-8)
  adam.build([theirs])
  for step in range(5):
    adam.apply_gradients([(tf.constant(gradient(step)), theirs)])
  ours, _ = run([tf.constant(gradient(step)) for step in range(5)])
  np.testing.assert_allclose(ours, theirs, atol=2e-6)


@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_table_update_is_the_dense_one_where_all_rows_are_used(
  decay: float,
) -> None:
  dense, _ = run([tf.constant(gradient(s)) for s in range(5)], decay)
  rows = [3, 1, 4, 0, 5, 2]
  sparse, _ = run([slices(gradient(s)[rows], rows) for s in range(5)], decay)
  np.testing.assert_allclose(sparse, dense, atol=1e-6)


def test_row_that_is_not_used_is_not_touched() -> None:
  used = [1, 4]
  variable, ours = run(
    [slices(gradient(s)[used], used) for s in range(3)], DECAY
  )
  untouched = [0, 2, 3, 5]
  np.testing.assert_array_equal(variable.numpy()[untouched], start()[untouched])
  assert (ours.first[0].numpy()[untouched] == 0).all()
  assert (variable.numpy()[used] != start()[used]).all()


def test_repeated_rows_are_added_up() -> None:
  g = gradient(0)
  once, _ = run([slices(np.stack([g[0] + g[1], g[2]]), [2, 5])])
  twice, _ = run([slices(np.stack([g[0], g[2], g[1]]), [2, 5, 2])])
  np.testing.assert_allclose(once, twice, atol=1e-6)


def test_decay_takes_a_share_of_the_weight_whatever_the_rate() -> None:
  plain, _ = run([tf.constant(gradient(0))])
  decayed, _ = run([tf.constant(gradient(0))], DECAY)
  np.testing.assert_allclose(plain - decayed, DECAY * start(), atol=1e-6)


def test_schedule_scales_step_and_decay() -> None:
  full, _ = run([tf.constant(gradient(0))], DECAY)
  half, _ = run([tf.constant(gradient(0))], DECAY, factor=0.5)
  np.testing.assert_allclose(half - start(), 0.5 * (full - start()), atol=1e-6)


def test_variable_without_gradient_is_left_alone() -> None:
  a, b = tf.Variable([1.0]), tf.Variable([1.0])
  ours = optimizer.LazyAdamW([a, b], RATE, DECAY)
  norm = ours.apply(
    [None, tf.constant([2.0])], [a, b], tf.constant(0), tf.constant(1.0)
  )
  assert a.numpy() == 1.0
  assert b.numpy() != 1.0
  assert norm.numpy() == 2.0


@pytest.mark.parametrize(
  ("schedule", "step", "factor"),
  [
    ("constant", 7, 1.0),
    ("linear", 0, 1.0),
    ("linear", 50, 0.505),
    ("linear", 100, 0.01),
    ("linear", 150, 0.01),
  ],
)
def test_schedule(schedule: str, step: int, factor: float) -> None:
  got = optimizer.schedule_factor(schedule, tf.constant(step), 101)
  assert float(got) == pytest.approx(factor, abs=1e-6)
