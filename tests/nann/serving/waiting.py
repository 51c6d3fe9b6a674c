"""Waiting for a condition instead of for a while."""

import threading
import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
  """Returns as soon as a condition holds; fails if it does not in time."""
  pause = threading.Event()
  end = time.monotonic() + timeout_s
  while not condition():
    assert time.monotonic() < end, "waited in vain"
    pause.wait(0.002)
