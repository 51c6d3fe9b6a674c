"""How many requests run, how many wait, and who is sent away at once.

A fixed number runs; some more wait in order of arrival, as many as will run
within the longest wait at the pace of late; whoever comes beyond that is
refused at once. So the wait is bounded for long and for short searches, and so
is memory.
"""

import collections
import contextlib
import math
import threading
import time
from collections.abc import Iterator

from nann.serving.call_limit import CallLimit
from nann.serving.errors import Code, ServingError

_WEIGHT_OF_LAST, _MOST_TIMES = 0.05, 4.0


class _Turn:
  """A request that waits; `comes` is released when it waits no longer."""

  def __init__(self) -> None:
    self.comes = threading.Lock()
    self.comes.acquire()
    self.has_place = False


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
    self.max_running = max_running
    self.max_waiting = max_waiting
    self._max_wait_s = max_wait_s
    # How long a request runs, by those of late; 0: none has run.
    self._run_s = 0.0
    self._is_patient = False
    self._mutex = threading.Lock()
    self._became_empty = threading.Condition(self._mutex)
    self._inside = 0
    self._running = 0
    self._waiting: collections.deque[_Turn] = collections.deque()
    self.is_open = True

  @property
  def num_running(self) -> int:
    return self._running

  @property
  def num_waiting(self) -> int:
    return len(self._waiting)

  def close(self) -> None:
    """Refuses whoever comes from now on."""
    with self._mutex:
      self.is_open = False

  def wait_until_empty(self, seconds: float) -> bool:
    """Waits for those inside to leave. Returns whether they all have."""
    with self._mutex:
      return self._became_empty.wait_for(lambda: self._inside == 0, seconds)

  @contextlib.contextmanager
  def admitted(self) -> Iterator[None]:
    """Lets a request in, or raises ServingError at once."""
    with self._mutex:
      if not self.is_open:
        raise ServingError(Code.UNAVAILABLE, "the server is shutting down")
      if self._inside >= self.max_running + self._waiting_bound():
        raise ServingError(
          Code.RESOURCE_EXHAUSTED,
          f"{self._inside} requests are running or waiting already; try again"
          " later",
        )
      self._inside += 1
    try:
      yield
    finally:
      with self._mutex:
        self._inside -= 1
        if not self.is_open and self._inside == 0:
          self._became_empty.notify_all()

  @contextlib.contextmanager
  def patient(self) -> Iterator[None]:
    """Lets requests wait longer while the block runs, up to the fixed number.

    For what slows all of them down for a moment: better late than refused.
    """
    self._is_patient = True
    try:
      yield
    finally:
      self._is_patient = False

  def _waiting_bound(self) -> float:
    """Returns how many may wait now."""
    if self._run_s == 0.0 or self._is_patient:
      return self.max_waiting
    in_time = self._max_wait_s * self.max_running / self._run_s
    # One for each that runs keeps them busy, however slow they are.
    return min(self.max_waiting, max(in_time, self.max_running))

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
      self._give_place(time.monotonic() - begin if has_run else None)

  def _take_place(self, limit: CallLimit) -> None:
    with self._mutex:
      if self._running < self.max_running:
        self._running += 1
        return
      turn = _Turn()
      self._waiting.append(turn)
    limit.on_cancel(lambda: self._leave(turn))
    seconds = limit.seconds_left()
    if not turn.comes.acquire(timeout=-1 if seconds is None else seconds):
      self._leave(turn)
    if not turn.has_place:
      if limit.is_cancelled:
        limit.check()
      raise ServingError(
        Code.DEADLINE_EXCEEDED, "the deadline passed while waiting to run"
      )

  def _leave(self, turn: _Turn) -> None:
    """Takes a request out of the queue, if it is there still."""
    with self._mutex:
      if turn in self._waiting:
        self._waiting.remove(turn)
        turn.comes.release()

  def _give_place(self, run_s: float | None) -> None:
    with self._mutex:
      if run_s is not None and self._run_s == 0.0:
        self._run_s = run_s
      elif run_s is not None:
        # A few that were held up say little about the others.
        run_s = min(run_s, _MOST_TIMES * self._run_s)
        self._run_s += _WEIGHT_OF_LAST * (run_s - self._run_s)
      if self._waiting:
        # The place goes from hand to hand, so nobody can jump the queue.
        turn = self._waiting.popleft()
        turn.has_place = True
        turn.comes.release()
      else:
        self._running -= 1
