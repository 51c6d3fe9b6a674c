"""What the operating system is asked for, beyond Python."""

import ctypes
import os


def free_unused_memory() -> None:
  """Gives freed memory back, where the C library can (glibc)."""
  trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
  if trim is not None:
    trim(0)


def num_cores() -> int:
  """Returns the number of processors that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1
