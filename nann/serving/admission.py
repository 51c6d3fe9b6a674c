"""How many requests run, how many wait, and who is sent away at once.

The counting is done in C++ (ops/requests/admission.h), where requests that do
not come to Python are counted as well; here are the sentences.
"""

import contextlib
import math
import time
from collections.abc import Iterator

from nann.serving import compiled
from nann.serving.call_limit import CallLimit
from nann.serving.errors import Code, ServingError

_CLOSED, _FULL = 1, 2


class Admission:
  """Counts the requests inside; shared by all protocols."""

  def __init__(
    self, max_running: int, max_waiting: int, max_wait_s: float = math.inf
  ) -> None:
    """Begins with nobody inside.

    Args:
      max_running: Requests that run at a time.
      max_waiting: Requests that wait, at most.
      max_wait_s: How long the last of them may have to wait, if requests take
        as long as they did of late.
    """
    self.native = compiled.Admission(max_running, max_waiting, max_wait_s)

  @property
  def max_running(self) -> int:
    return self.native.max_running

  @property
  def num_running(self) -> int:
    return self.native.num_running

  @property
  def num_waiting(self) -> int:
    return self.native.num_waiting

  @property
  def is_open(self) -> bool:
    return self.native.is_open

  def close(self) -> None:
    """Refuses whoever comes from now on."""
    self.native.close()

  def wait_until_empty(self, seconds: float) -> bool:
    """Waits for those inside to leave. Returns whether they all have."""
    return self.native.wait_until_empty(seconds)

  @contextlib.contextmanager
  def admitted(self) -> Iterator[None]:
    """Lets a request in, or raises ServingError at once."""
    entry, num_inside = self.native.enter()
    if entry == _CLOSED:
      raise ServingError(Code.UNAVAILABLE, "the server is shutting down")
    if entry == _FULL:
      raise ServingError(
        Code.RESOURCE_EXHAUSTED,
        f"{num_inside} requests are running or waiting already; try again"
        " later",
      )
    try:
      yield
    finally:
      self.native.leave()

  @contextlib.contextmanager
  def patient(self) -> Iterator[None]:
    """Lets requests wait longer while the block runs, up to the fixed number.

    For what slows all of them down for a moment: better late than refused.
    """
    self.native.set_patient(True)
    try:
      yield
    finally:
      self.native.set_patient(False)

  @contextlib.contextmanager
  def place(self, limit: CallLimit) -> Iterator[None]:
    """Waits for a place to run.

    Raises:
      ServingError: The deadline passed, or the client went, while waiting.
    """
    self._take_place(limit)
    begin = time.monotonic()
    has_run = False
    try:
      limit.check()
      has_run = True
      yield
    finally:
      # Below 0: says nothing about how long requests run.
      self.native.give_place(time.monotonic() - begin if has_run else -1.0)

  def _take_place(self, limit: CallLimit) -> None:
    turn = compiled.Turn(self.native)
    limit.on_cancel(turn.leave)
    if turn.wait(limit.seconds_left()):
      return
    if limit.is_cancelled:
      limit.check()
    raise ServingError(
      Code.DEADLINE_EXCEEDED, "the deadline passed while waiting to run"
    )
