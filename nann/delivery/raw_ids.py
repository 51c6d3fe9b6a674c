"""The user's own ids inside a graph: to ours, and back from rows.

Ids are integers or text. 0 and the empty text are padding. Texts are found by a
64-bit fingerprint of them.
"""

from typing import Protocol

import numpy as np
import tensorflow as tf

# Of fingerprints: all that int64 has, but for its last number.
_NUM_FINGERPRINTS = 2**63 - 1
_LAST = np.iinfo(np.int64).max


class RawIds(Protocol):
  """Finds our id for the user's own.

  Attributes:
    dtype: Of the user's ids.
  """

  dtype: tf.DType

  def find(self, raw_ids: tf.Tensor) -> tf.Tensor:
    """Returns int64 ids 1.. of ids of any shape, 0 where one is unknown."""

  def is_padding(self, raw_ids: tf.Tensor) -> tf.Tensor:
    """Returns bool of the same shape."""

  def tensors(self) -> dict[str, tf.Tensor]:
    """Returns what is read, by name."""


class RowNames(Protocol):
  """Finds the user's own ids for rows."""

  def of_rows(self, rows: tf.Tensor) -> tf.Tensor:
    """Returns the ids of int32 rows of any shape; padding for row -1."""

  def tensors(self) -> dict[str, tf.Tensor]:
    """Returns what is read, by name."""


def raw_ids(name: str, ids: np.ndarray) -> RawIds:
  """Returns what finds the user's ids of 1, 2, ...

  Args:
    name: What they are ids of.
    ids: [n] integers or text.

  Raises:
    ValueError: Two texts have the same fingerprint.
  """
  if ids.dtype.kind in "iu":
    return IntegerIds(name, ids.astype(np.int64))
  return TextIds(name, _as_bytes(ids))


def row_names(ids: np.ndarray) -> RowNames:
  """Returns what names rows.

  Args:
    ids: [I] integers or text, the user's id of each row's item.
  """
  if ids.dtype.kind in "iu":
    return IntegerNames(ids.astype(np.int64))
  return TextNames(_as_bytes(ids))


class IntegerIds:
  """Ids in ascending order, with the place of each in the user's list."""

  dtype = tf.int64

  def __init__(self, name: str, ids: np.ndarray) -> None:
    order = np.argsort(ids, kind="stable")
    self._name = name
    # An end for ids beyond the last.
    self._sorted = tf.constant(np.append(ids[order], _LAST), tf.int64)
    self._places = tf.constant(np.append(order + 1, 0), tf.int64)

  def find(self, raw_ids: tf.Tensor) -> tf.Tensor:
    flat = tf.reshape(raw_ids, [1, -1])
    found = tf.raw_ops.LowerBound(
      sorted_inputs=tf.expand_dims(self._sorted, 0),
      values=flat,
      out_type=tf.int32,
    )
    is_there = tf.equal(tf.gather(self._sorted, found), flat)
    places = tf.where(is_there, tf.gather(self._places, found), 0)
    return tf.reshape(places, tf.shape(raw_ids))

  def is_padding(self, raw_ids: tf.Tensor) -> tf.Tensor:
    return tf.equal(raw_ids, 0)

  def tensors(self) -> dict[str, tf.Tensor]:
    return {
      f"{self._name}_ids_sorted": self._sorted,
      f"{self._name}_ids_places": self._places,
    }


class TextIds:
  """Fingerprints in ascending order, likewise."""

  dtype = tf.string

  def __init__(self, name: str, ids: np.ndarray) -> None:
    keys = _fingerprints(tf.constant(ids)).numpy()
    values, counts = np.unique(keys, return_counts=True)
    if (counts > 1).any():
      same = ids[keys == values[counts > 1][0]][:2].tolist()
      raise ValueError(
        f"the {name} ids {same} have the same 64-bit fingerprint; rename one,"
        " or number the ids before prepare_data"
      )
    self._keys = IntegerIds(name, keys)

  def find(self, raw_ids: tf.Tensor) -> tf.Tensor:
    return self._keys.find(_fingerprints(raw_ids))

  def is_padding(self, raw_ids: tf.Tensor) -> tf.Tensor:
    return tf.equal(raw_ids, "")

  def tensors(self) -> dict[str, tf.Tensor]:
    return self._keys.tensors()


class IntegerNames:
  """A list of ids, that of row -1 first."""

  def __init__(self, ids: np.ndarray) -> None:
    self._ids = tf.constant(np.append(0, ids), tf.int64)

  def of_rows(self, rows: tf.Tensor) -> tf.Tensor:
    return tf.gather(self._ids, rows + 1)

  def tensors(self) -> dict[str, tf.Tensor]:
    return {"raw_ids_by_row": self._ids}


class TextNames:
  """Texts one after the other, that of row -1, which is empty, first."""

  def __init__(self, ids: np.ndarray) -> None:
    texts = ids.tolist()
    splits = np.cumsum([0, 0, *map(len, texts)])
    self._splits = tf.constant(splits, tf.int64)
    self._bytes = tf.constant(np.frombuffer(b"".join(texts), np.uint8))
    self._characters = tf.constant([bytes([byte]) for byte in range(256)])

  def of_rows(self, rows: tf.Tensor) -> tf.Tensor:
    flat = tf.reshape(rows, [-1]) + 1
    begins = tf.gather(self._splits, flat)
    lengths = tf.gather(self._splits, flat + 1) - begins
    starts = tf.cumsum(lengths, exclusive=True)
    number = tf.reduce_sum(lengths)
    places = tf.repeat(begins - starts, lengths) + tf.range(number)
    codes = tf.cast(tf.gather(self._bytes, places), tf.int32)
    characters = tf.RaggedTensor.from_row_lengths(
      tf.gather(self._characters, codes), lengths, validate=False
    )
    texts = tf.strings.reduce_join(characters, axis=1)
    return tf.reshape(texts, tf.shape(rows))

  def tensors(self) -> dict[str, tf.Tensor]:
    return {"raw_ids_splits": self._splits, "raw_ids_bytes": self._bytes}


def _fingerprints(texts: tf.Tensor) -> tf.Tensor:
  return tf.strings.to_hash_bucket_fast(texts, _NUM_FINGERPRINTS)


def _as_bytes(texts: np.ndarray) -> np.ndarray:
  if texts.dtype.kind == "U":
    encoded: np.ndarray = np.char.encode(texts, "utf-8")
    return encoded
  return texts.astype(bytes)
