"""How long a request may run: its deadline, and whether it was cancelled.

A search checks the limit at every step (ops/core/call_limit.h): a session that
runs in the caller's thread heeds no timeout of its own.
"""

import ctypes
import time
from collections.abc import Callable

from nann.serving.errors import Code, ServingError

# Beyond this a deadline is none.
_LONGEST_S = 365 * 24 * 3600.0


class _Shared(ctypes.Structure):
  """The same memory as `nann::CallLimit`."""

  _fields_ = (
    ("deadline_ns", ctypes.c_int64),
    ("is_cancelled", ctypes.c_int32),
  )


class CallLimit:
  """The limit of one request; `cancel` may be called from any thread."""

  def __init__(self, seconds_left: float | None = None) -> None:
    """Starts the clock. None, infinity: no deadline."""
    self._shared = _Shared()
    self._deadline: float | None = None
    self._leave: Callable[[], None] | None = None
    if seconds_left is not None and seconds_left < _LONGEST_S:
      self._deadline = time.monotonic() + max(seconds_left, 0.0)
      self._shared.deadline_ns = max(1, int(1e9 * self._deadline))

  @property
  def address(self) -> int:
    """Where a search finds the limit."""
    return ctypes.addressof(self._shared)

  def cancel(self) -> None:
    """Ends what runs under the limit, soon."""
    self._shared.is_cancelled = 1
    if self._leave is not None:
      self._leave()

  def on_cancel(self, leave: Callable[[], None]) -> None:
    """Says what `cancel` shall call, once or twice."""
    self._leave = leave
    if self._shared.is_cancelled:
      leave()

  @property
  def is_cancelled(self) -> bool:
    return bool(self._shared.is_cancelled)

  def seconds_left(self) -> float | None:
    """Returns the time to the deadline, at least 0; None without deadline."""
    if self._deadline is None:
      return None
    return max(0.0, self._deadline - time.monotonic())

  def check(self) -> None:
    """Raises ServingError if the request should not run any more."""
    if self._shared.is_cancelled:
      raise ServingError(Code.CANCELLED, "the client cancelled the request")
    if self._deadline is not None and time.monotonic() > self._deadline:
      raise ServingError(
        Code.DEADLINE_EXCEEDED, "the deadline passed before the search ran"
      )
