"""A line for each request on stderr: to read, or as JSON."""

import json
import re
import sys
import time
from typing import Any, TextIO

_PLAIN = re.compile(r"[\w.:/\[\]-]+")


class AccessLog:
  """Writes what happens; may be called from any thread."""

  def __init__(
    self,
    is_json: bool,
    with_requests: bool = True,
    stream: TextIO | None = None,
  ) -> None:
    """Chooses the form.

    Args:
      is_json: Write JSON objects.
      with_requests: Write a line for each request too.
      stream: stderr, unless given.
    """
    self._is_json = is_json
    self._with_requests = with_requests
    self._stream = stream

  def tell(self, message: str) -> None:
    """Writes that something happened to the server."""
    fields = {"event": "server", "message": message}
    self._write(fields, message, time.time())

  def request(self, fields: dict[str, Any], ended_at: float) -> None:
    """Writes how a request went that ended at some time."""
    if not self._with_requests:
      return
    known = {key: x for key, x in fields.items() if x is not None}
    text = " ".join(f"{key}={_shown(value)}" for key, value in known.items())
    self._write({"event": "request", **known}, text, ended_at)

  def _write(self, fields: dict[str, Any], text: str, now: float) -> None:
    day_and_time = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    moment = f"{day_and_time}.{int(now * 1000) % 1000:03d}Z"
    if self._is_json:
      line = json.dumps({"time": moment, **fields})
    else:
      line = f"{moment} {text}"
    stream = self._stream or sys.stderr
    # One call, so that lines of several threads do not mix.
    stream.write(line + "\n")
    stream.flush()


def _shown(value: Any) -> str:
  if isinstance(value, float):
    return f"{value:.2f}"
  text = str(value)
  # A client's text must not make lines of its own.
  return text if _PLAIN.fullmatch(text) else json.dumps(text)
