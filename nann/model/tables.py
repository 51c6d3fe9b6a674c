"""Rows of large tables, read without the rest of them."""

import tensorflow as tf


def rows_of(table: tf.Variable, ids: tf.Tensor) -> tf.Tensor:
  """Returns `tf.gather(table, ids)`, [..., *].

  Of a variable that a strategy mirrors, `tf.gather` reads all, and TensorFlow
  copies what is read of a variable once single rows of it were written.

  Args:
    table: [R, *], a variable of a strategy or of none.
    ids: [...] int32 or int64.
  """
  return tf.gather(_own(table), ids)


def _own(table: tf.Variable) -> tf.Variable:
  """Returns a mirrored variable's copy in the replica that asks."""
  if not isinstance(table, tf.distribute.DistributedValues):
    return table
  copies = table.values
  context = tf.distribute.get_replica_context()
  if context is None:
    return copies[0]
  # Replicas are numbered over all workers, copies in this one.
  number = tf.get_static_value(context.replica_id_in_sync_group)
  return copies[number % len(copies)]


def beside(variable: tf.Variable, table: tf.Variable) -> tf.Variable:
  """Returns a mirrored variable's copy on the device of another's copy.

  For updates, which run outside the replicas.
  """
  if not isinstance(table, tf.distribute.DistributedValues):
    return table
  (copy,) = (own for own in table.values if own.device == variable.device)
  return copy
