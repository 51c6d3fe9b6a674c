"""From a request to its answer, whatever the protocol.

A request is let in, read, given a place to run, answered, counted and logged.
"""

import contextlib
import dataclasses
import time
import traceback
from collections.abc import Callable, Collection, Iterator

import numpy as np

from nann.serving import errors
from nann.serving.access_log import AccessLog
from nann.serving.admission import Admission
from nann.serving.call_limit import CallLimit
from nann.serving.metrics import Metrics
from nann.serving.signature import Arrays, Limits, Signature
from nann.serving.versions import Versions

_NUM_SCORED = "num_scored"


@dataclasses.dataclass
class Call:
  """A request on its way, filled in as it goes.

  Attributes:
    protocol: grpc or rest.
    peer: Where it came from.
    limit: How long it may take.
    signature: Empty until it is known to exist.
    version: None until it is known.
    num_users: B.
    num_scored: Items scored for all users; None: not known.
    waited_s: For a place to run.
  """

  protocol: str
  peer: str
  limit: CallLimit
  signature: str = ""
  version: int | None = None
  num_users: int | None = None
  num_scored: int | None = None
  waited_s: float = 0.0


@dataclasses.dataclass(frozen=True)
class Spec:
  """Which model a request asks for.

  Attributes:
    model: Its name.
    signature: Empty: the default one.
    version: None: the newest.
    label: In place of the version.
  """

  model: str
  signature: str = ""
  version: int | None = None
  label: str | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
  """What the model said.

  Attributes:
    version: Of the model.
    signature: Its name.
    outputs: By name.
  """

  version: int
  signature: str
  outputs: Arrays


class Predictor:
  """Answers requests with the versions that are loaded."""

  def __init__(
    self,
    model_name: str,
    versions: Versions,
    admission: Admission,
    limits: Limits,
    metrics: Metrics,
    log: AccessLog,
  ) -> None:
    self.model_name = model_name
    self.versions = versions
    self.admission = admission
    self._limits = limits
    self._metrics = metrics
    self._log = log
    # Whether a balancer should send requests here.
    self.is_ready = False

  @contextlib.contextmanager
  def observed(self, call: Call) -> Iterator[None]:
    """Counts and logs what happens in the block.

    Raises:
      ServingError: Whatever went wrong, so that no other error reaches a
        client.
    """
    begin = time.perf_counter()
    code, message = errors.Code.OK, ""
    try:
      yield
    except errors.ServingError as error:
      code, message = error.code, error.message
      raise
    except Exception as error:
      code = errors.Code.INTERNAL
      message = "the server failed on this request; see its log"
      self._log.tell("".join(traceback.format_exception(error)))
      raise errors.ServingError(code, message) from error
    finally:
      seconds = time.perf_counter() - begin
      self.note(call, code, message, seconds, time.time())

  def note(
    self,
    call: Call,
    code: errors.Code,
    message: str,
    seconds: float,
    ended_at: float,
  ) -> None:
    """Counts and logs a request.

    Args:
      call: As far as it came.
      code: How it ended.
      message: Why; empty: nothing is wrong.
      seconds: How long it took.
      ended_at: When it ended, as time.time gives it.
    """
    self._metrics.count_request(
      call.protocol, call.signature, code.name, seconds
    )
    self._log.request(
      {
        "protocol": call.protocol,
        "peer": call.peer,
        "signature": call.signature or None,
        "version": call.version,
        "users": call.num_users,
        "scored": call.num_scored,
        "code": code.name,
        "ms": round(1e3 * seconds, 3),
        "waited_ms": round(1e3 * call.waited_s, 3),
        "error": message or None,
      },
      ended_at,
    )

  def tell(self, message: str) -> None:
    """Logs something that is about no single request."""
    self._log.tell(message)

  def check_name(self, name: str) -> None:
    """Raises ServingError if another model is asked for."""
    if name != self.model_name:
      raise errors.not_found(
        f"there is no model {name[:80]!r}, wanted {self.model_name!r}"
      )

  def predict(
    self,
    call: Call,
    spec: Spec,
    read_inputs: Callable[[Signature], Arrays],
    output_filter: Collection[str] = (),
  ) -> Answer:
    """Answers a request that was let in.

    Args:
      call: Filled in.
      spec: Which model.
      read_inputs: Gives the arrays that the client sent.
      output_filter: The outputs wanted; none: all.

    Raises:
      ServingError: It cannot be answered.
    """
    self.check_name(spec.model)
    with self.versions.use(spec.version, spec.label) as model:
      signature = model.signature(spec.signature)
      call.version, call.signature = model.version, signature.name
      wanted = signature.chosen_outputs(output_filter)
      feeds = signature.feeds(read_inputs(signature), self._limits)
      begin = time.perf_counter()
      with self.admission.place(call.limit):
        call.waited_s = time.perf_counter() - begin
        found = model.run(signature.name, feeds, call.limit)
      self._count_work(call, found)
      outputs = {name: found[name] for name in wanted}
      return Answer(model.version, signature.name, outputs)

  def _count_work(self, call: Call, found: Arrays) -> None:
    first: np.ndarray = next(iter(found.values()))
    call.num_users = len(first) if first.ndim else 1
    if _NUM_SCORED in found:
      self.count_scored(call, found[_NUM_SCORED].reshape(-1).tolist())

  def count_scored(self, call: Call, num_scored: list[int]) -> None:
    """Counts the items scored for each user of a request."""
    call.num_scored = sum(num_scored)
    self._metrics.count_scored(call.signature, num_scored)
