"""Made-up requests have the shapes and types that signatures ask for."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from nann.delivery import mock_requests


def signature(
  inputs: dict[str, tuple[tf.DType, list[int]]], *optional: str
) -> meta_graph_pb2.SignatureDef:
  made = meta_graph_pb2.SignatureDef()
  for name, (dtype, shape) in inputs.items():
    info = made.inputs[name]
    info.dtype = dtype.as_datatype_enum
    for size in shape:
      info.tensor_shape.dim.add(size=size)
  for name in optional:
    made.defaults[name].CopyFrom(tf.make_tensor_proto(0))
  return made


def make(described: meta_graph_pb2.SignatureDef) -> dict[str, np.ndarray]:
  return mock_requests.inputs(described, np.random.default_rng(0))


@pytest.mark.parametrize(
  ("name", "dtype", "shape", "wanted"),
  [
    ("comm_seq", tf.float16, [-1, 70], (1, 70)),
    ("comm_seq", tf.float16, [-1, -1], (1, 3200)),
    ("level_topn", tf.int32, [4], (4,)),
    ("level_topn", tf.int32, [-1], (6,)),
    ("item_emb", tf.float32, [-1, 12], (100, 12)),
    ("history_item_ids", tf.int64, [-1, -1], (1, 50)),
    ("history_item_ids", tf.string, [-1, 9], (1, 9)),
  ],
)
def test_shapes_are_those_of_the_signature(
  name: str, dtype: tf.DType, shape: list[int], wanted: tuple[int, ...]
) -> None:
  (value,) = make(signature({name: (dtype, shape)})).values()
  assert value.shape == wanted
  assert tf.make_tensor_proto(value).dtype == dtype.as_datatype_enum


def test_history_is_as_wide_as_the_items() -> None:
  found = make(
    signature(
      {
        "item_emb": (tf.float32, [-1, 16]),
        "user_seq_emb": (tf.float32, [-1, -1]),
      }
    )
  )
  assert found["user_seq_emb"].shape == (1, 50 * 16)


def test_what_is_optional_is_left_out() -> None:
  described: Any = {"k": (tf.int32, []), "item_ids": (tf.int64, [-1, -1])}
  assert list(make(signature(described, "k"))) == ["item_ids"]


def test_unknown_input_is_refused() -> None:
  with pytest.raises(ValueError, match="for input color"):
    make(signature({"color": (tf.float32, [])}))
