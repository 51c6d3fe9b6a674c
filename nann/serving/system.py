"""What the operating system is asked for, beyond Python."""

import ctypes
import gc
import itertools
import os
import sys
import threading

# Python's own is 5 ms: longer than most searches.
_SWITCH_S = 0.0005
_LOADER_NICE = 10
_FREES_PER_TRIM = 8
_frees = itertools.count(1)


def prepare_to_serve() -> None:
  """Sees to it that requests wait for nothing else in this process.

  Objects made so far are taken out of garbage collection: to look at all of
  TensorFlow takes hundreds of milliseconds. A thread that loads a version in
  Python lets others go on soon.
  """
  gc.collect()
  gc.freeze()
  sys.setswitchinterval(_SWITCH_S)


def yield_to_requests() -> None:
  """Lets the processors prefer all other threads to this one."""
  if sys.platform == "linux":
    # There a thread has a priority of its own.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOADER_NICE)


def free_unused_memory() -> None:
  """Gives freed memory back at times, where the C library can (glibc).

  For tens of milliseconds no thread can allocate meanwhile, and what one
  version leaves behind is little: most calls only let go of Python's objects.
  """
  gc.collect()
  if next(_frees) % _FREES_PER_TRIM == 0:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
      trim(0)


def num_cores() -> int:
  """Returns the number of processors that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1
