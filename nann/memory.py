"""Memory for large arrays. Knows NumPy only."""

import numpy as np
import numpy.typing as npt

LINE_BYTES = 64
HUGE_PAGE_BYTES = 1 << 21


def aligned(shape: tuple[int, int], dtype: npt.DTypeLike) -> np.ndarray:
  """Returns an array that begins at a page: a row of 64 bytes is one line.

  NumPy asks for huge pages, but its arrays begin 16 bytes into a page; half of
  the cache lines that a search waits for would be fetched for nothing.
  """
  size_bytes = shape[0] * shape[1] * np.dtype(dtype).itemsize
  room = np.empty(size_bytes + HUGE_PAGE_BYTES, np.uint8)
  begin = -room.ctypes.data % HUGE_PAGE_BYTES
  aligned: np.ndarray = room[begin : begin + size_bytes]
  return aligned.view(dtype).reshape(shape)
