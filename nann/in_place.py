"""Large tensors that lie where an array lies."""

import numpy as np
import tensorflow as tf

from nann import memory


def in_place(array: np.ndarray) -> tf.Tensor:
  """Returns a tensor that lies where an array lies, which must not change.

  So a mapped file stays mapped. What may not be written, or begins where
  TensorFlow's kernels want no array to begin, is copied: once, which
  `tf.constant` does twice, and to huge pages, where jumping about costs less.
  """
  if not array.flags.writeable or array.ctypes.data % memory.LINE_BYTES:
    if array.nbytes < memory.HUGE_PAGE_BYTES:
      return tf.constant(array)
    room = memory.aligned((1, array.size), array.dtype).reshape(array.shape)
    room[...] = array
    array = room
  return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
