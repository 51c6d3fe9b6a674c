"""The compiled server of gRPC (ops/front), in front of the one of Python.

It answers usual requests without the interpreter's lock and passes on all
others to the server of Python, at a socket that only this user can reach. What
it has answered is counted and logged here, a moment later.
"""

import functools
import importlib
import importlib.util
import os
import pathlib
import sys
import tempfile
import threading
from typing import Any

from nann import ops
from nann.serving import compiled
from nann.serving.admission import Admission
from nann.serving.call_limit import CallLimit
from nann.serving.errors import Code
from nann.serving.predictor import Call, Predictor
from nann.serving.signature import Limits
from nann.serving.versions import Versions
from nann.serving_settings import ServeSettings

MODULE = "nann._front"
_MIB = 1 << 20
# Of requests that ended and were not yet counted: seconds of the fastest.
_MOST_RECORDS = 1 << 17
_NOTE_INTERVAL_S = 0.05
_CODES = {code.value[0]: code for code in Code}


def is_built() -> bool:
  """Returns whether setup.py found gRPC's C++ library."""
  return importlib.util.find_spec(MODULE) is not None


@functools.cache
def _compiled() -> Any:
  """Imports the module of the compiled server.

  TensorFlow has made its own gRPC, TLS and other libraries known to all of the
  process; this one must be linked with the system's.
  """
  before = sys.getdlopenflags()
  sys.setdlopenflags(os.RTLD_NOW | getattr(os, "RTLD_DEEPBIND", 0))
  try:
    return importlib.import_module(MODULE)
  finally:
    sys.setdlopenflags(before)


class Front:
  """Listens in place of the server of Python."""

  def __init__(
    self,
    settings: ServeSettings,
    predictor: Predictor,
    admission: Admission,
    limits: Limits,
    max_calls: int,
  ) -> None:
    """Listens nowhere yet.

    Args:
      settings: How to serve.
      predictor: Counts and logs.
      admission: Of all requests.
      limits: What a request may ask for.
      max_calls: Calls beyond these are refused unread.
    """
    self._settings = settings
    self._predictor = predictor
    self._max_calls = max_calls
    self._folder = tempfile.TemporaryDirectory(prefix="nann-")
    # The address of the server of Python.
    self.python_address = f"unix:{pathlib.Path(self._folder.name) / 'python'}"
    ops.library()
    self._log = compiled.RequestLog(_MOST_RECORDS)
    self._prediction = compiled.Prediction(
      settings.model_name,
      limits.max_users,
      limits.max_answers,
      admission.native,
      self._log,
      str(ops.LIBRARY_PATH),
    )
    self._native: Any = None
    self._noting = threading.Lock()
    self._is_over = threading.Event()
    self._thread = threading.Thread(
      target=self._note_often, name="front", daemon=True
    )

  def listen(self) -> int:
    """Begins to answer. Returns the port.

    Raises:
      ValueError: The address cannot be had.
    """
    address = f"{self._settings.host}:{self._settings.port}"
    self._native = _compiled().Front(
      self._prediction.address(),
      address,
      self.python_address,
      self._settings.max_message_mb * _MIB,
      self._max_calls,
      _content(self._settings.tls_cert),
      _content(self._settings.tls_key),
      _content(self._settings.tls_client_ca),
    )
    port = self._native.start()
    if port == 0:
      raise ValueError(f"{address} cannot be had")
    self._thread.start()
    return port

  def serve(self, versions: Versions) -> None:
    """Answers with what is loaded from now on."""
    models = {
      number: model.fast
      for number, model in versions.models().items()
      if model.fast is not None
    }
    # 0 is no version that is loaded.
    self._prediction.serve(models, versions.current or 0, versions.labels)

  def stop(self, seconds: float) -> None:
    """Ends the calls under way, some time from now; none comes in."""
    if self._native is None:
      return
    self._native.stop(seconds)
    self._is_over.set()
    if self._thread.ident is not None:
      self._thread.join()
    self.note()
    self._folder.cleanup()

  def _note_often(self) -> None:
    while not self._is_over.wait(_NOTE_INTERVAL_S):
      self.note()

  def note(self) -> None:
    """Counts and logs the requests that have ended."""
    with self._noting:
      records, num_lost = self._log.take()
      for record in records:
        self._note(record)
      if num_lost:
        self._predictor.tell(f"{num_lost} requests were not counted")

  def _note(self, record: compiled.Record) -> None:
    peer, signature, version, code, message, seconds, waited_s = record[:7]
    num_users, num_scored, ended_at = record[7:]
    call = Call("grpc", peer, CallLimit(), signature, version or None)
    call.waited_s = waited_s
    if code == 0:
      call.num_users = num_users
    if num_scored:
      self._predictor.count_scored(call, num_scored)
    self._predictor.note(call, _CODES[code], message, seconds, ended_at)


def _content(path: str) -> bytes:
  return pathlib.Path(path).read_bytes() if path else b""
