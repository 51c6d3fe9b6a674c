"""Made-up inputs for a signature, where there are no users at hand.

For a look at a model, for warming it up and for timing it: shapes and types are
right, the content is noise.
"""

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

# Where a signature leaves the number open: the documented model's.
_LENGTH, _WIDTH = 50, 64
_NUM_ITEMS = 100
# As in the documented request: the width at the entry level, and all others.
_FIRST_WIDTH, _OTHER_WIDTHS, _NUM_STEPS = 100, 200, 5
_SCALE = 0.1
_MOST_ID = 1000


def inputs(
  signature: meta_graph_pb2.SignatureDef, rng: np.random.Generator
) -> dict[str, np.ndarray]:
  """Makes one request for one user.

  Args:
    signature: What is asked; inputs that have a default are left out.
    rng: Where the noise comes from.

  Raises:
    ValueError: An input is none of those that our models have.
  """
  return {
    name: _value(name, info, signature, rng)
    for name, info in sorted(signature.inputs.items())
    if name not in signature.defaults
  }


def _value(
  name: str,
  info: meta_graph_pb2.TensorInfo,
  signature: meta_graph_pb2.SignatureDef,
  rng: np.random.Generator,
) -> np.ndarray:
  known = [dim.size for dim in info.tensor_shape.dim]
  dtype = tf.as_dtype(info.dtype).as_numpy_dtype
  if name == "level_topn":
    number = _size(known, 0, _NUM_STEPS + 1)
    return np.array([_FIRST_WIDTH] + [_OTHER_WIDTHS] * (number - 1), dtype)
  if name == "item_emb":
    shape = [_NUM_ITEMS, _size(known, 1, _WIDTH)]
    return _noise(shape, dtype, rng)
  if name == "user_seq_emb":
    # As wide as an item, unless a scorer of its own says otherwise.
    items = [dim.size for dim in signature.inputs["item_emb"].tensor_shape.dim]
    width = _size(items, 1, _WIDTH)
    return _noise([1, _size(known, 1, _LENGTH * width)], dtype, rng)
  if name == "comm_seq":
    return _noise([1, _size(known, 1, _LENGTH * _WIDTH)], dtype, rng)
  if name in ("history_item_ids", "item_ids"):
    ids = rng.integers(1, _MOST_ID, (1, _size(known, 1, _LENGTH)))
    return ids.astype(bytes if info.dtype == tf.string else dtype)
  raise ValueError(
    f"no request can be made up for input {name}; give the input a default"
  )


def _size(known: list[int], axis: int, default: int) -> int:
  """Returns the size of a dimension, or the default where it is open."""
  size = known[axis] if axis < len(known) else -1
  return default if size < 0 else size


def _noise(
  shape: list[int], dtype: type, rng: np.random.Generator
) -> np.ndarray:
  return (_SCALE * rng.normal(size=shape)).astype(dtype)
