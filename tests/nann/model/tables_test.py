import numpy as np
import pytest
import tensorflow as tf

from nann.model import scorer as scorers
from nann.model import sequence_trainer, tables, trainer
from tests.nann.model import sequence_trainer_test, trainer_test


def mirrored_table() -> tuple[tf.distribute.Strategy, tf.Variable, np.ndarray]:
  strategy = tf.distribute.MirroredStrategy(["CPU:0"])
  values = np.random.default_rng(0).random((30, 3), np.float32)
  with strategy.scope():
    table = tf.Variable(values)
  assert isinstance(table, tf.distribute.DistributedValues)
  return strategy, table, values


@pytest.mark.parametrize("shape", [(), (0,), (7,), (2, 5)])
def test_rows_are_those_of_gather(shape: tuple[int, ...]) -> None:
  strategy, table, values = mirrored_table()
  ids = np.random.default_rng(1).integers(0, 30, shape)
  wanted = values[ids]
  for own in (table, tf.Variable(values)):
    np.testing.assert_array_equal(tables.rows_of(own, ids), wanted)
  with strategy.scope():  # Outside the replicas.
    np.testing.assert_array_equal(tables.rows_of(table, ids), wanted)
  found = strategy.run(lambda: tables.rows_of(table, tf.constant(ids)))
  np.testing.assert_array_equal(found, wanted)


def test_gradient_is_of_the_rows_alone() -> None:
  strategy, table, _ = mirrored_table()

  def gradient() -> tf.IndexedSlices:
    with tf.GradientTape() as tape:
      total = tf.reduce_sum(tables.rows_of(table, tf.constant([4, 9, 4])))
    return tape.gradient(total, table)

  found = strategy.run(gradient)
  assert isinstance(found, tf.IndexedSlices)
  np.testing.assert_array_equal(found.indices, [4, 9, 4])
  np.testing.assert_array_equal(found.values, np.ones((3, 3)))


@pytest.mark.parametrize("name", ["attention", "nann_plus"])
def test_no_step_reads_a_whole_table(name: str) -> None:
  """TensorFlow would copy it: a step's cost would grow with the items."""
  strategy = tf.distribute.MirroredStrategy(["CPU:0"])
  made_by = (
    sequence_trainer.SequenceTrainer if name == "nann_plus" else trainer.Trainer
  )
  with strategy.scope():
    scorer = scorers.create(name, sequence_trainer_test.SPEC)
  made = made_by(
    scorer,
    strategy,
    trainer_test.settings(),
    trainer_test.CATEGORIES,
    trainer_test.LOG_EXPECTED,
  )
  number = tf.TensorSpec([], tf.int64)
  graph = made.distributed_step.get_concrete_function(
    trainer_test.batch(), number
  ).graph
  read = [
    op.outputs[0].shape
    for op in graph.get_operations()
    if op.type == "ReadVariableOp"
  ]
  assert read
  rows = trainer_test.NUM_ITEMS + 1
  assert [shape for shape in read if shape.rank and shape[0] == rows] == []
