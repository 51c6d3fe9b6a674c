"""The server: versions, protocols, health; started and drained as a whole."""

import concurrent.futures
import pathlib
import socket
import ssl
import threading

import grpc
import uvicorn
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from nann.serving import front, rest
from nann.serving.access_log import AccessLog
from nann.serving.admission import Admission
from nann.serving.grpc_services import (
  MODEL_SERVICE,
  PREDICTION_SERVICE,
  Services,
)
from nann.serving.metrics import Metrics
from nann.serving.model import Model
from nann.serving.predictor import Predictor
from nann.serving.signature import Limits
from nann.serving.system import num_cores
from nann.serving.versions import Load, Poller, Versions, load_and_warm_up
from nann.serving_settings import ServeSettings

_WAITING_PER_RUNNING = 64
# Threads beyond those that run and wait: they refuse, and answer on health.
_MORE_THREADS = 16
_CALLS_PER_THREAD = 8
_MIB = 1 << 20
# For answers on their way out when the server stops.
_LAST_ANSWERS_S = 2.0
_HEALTH_NAMES = ("", PREDICTION_SERVICE, MODEL_SERVICE)


class Server:
  """Serves a base path until it is stopped."""

  def __init__(
    self,
    base_path: pathlib.Path,
    settings: ServeSettings,
    load: Load = load_and_warm_up,
  ) -> None:
    """Loads nothing yet and listens nowhere; see `start`.

    Args:
      base_path: Holds a folder for each version.
      settings: How to serve.
      load: Makes a model of a folder.
    """
    self._settings = settings
    self._credentials = _credentials(settings)
    self.log = AccessLog(settings.log_json, settings.access_log)
    self._load = load
    self.versions = Versions(
      base_path, settings.labels(), self.log.tell, self._load_beside
    )
    running = settings.concurrency or num_cores()
    waiting = settings.max_queue or _WAITING_PER_RUNNING * running
    self.admission = Admission(running, waiting, settings.max_wait_ms / 1e3)
    self._metrics = Metrics(self.versions, self.admission)
    limits = Limits(
      settings.max_users_per_request, settings.max_answers_per_request
    )
    self.predictor = Predictor(
      settings.model_name,
      self.versions,
      self.admission,
      limits,
      self._metrics,
      self.log,
    )
    self._poller = Poller(
      self.versions, settings.poll_interval_s, self.log.tell
    )
    self._num_threads = running + waiting + _MORE_THREADS
    self._health = health.HealthServicer(experimental_non_blocking=True)
    self._front = self._make_front(limits)
    self._grpc = self._grpc_server()
    self._rest: _RestServer | None = None
    self.port = 0
    self.rest_port: int | None = None

  def _make_front(self, limits: Limits) -> front.Front | None:
    """Returns the compiled server. Raises ValueError if it is missing."""
    wanted = self._settings.front
    if wanted == "python" or (wanted == "auto" and not front.is_built()):
      return None
    if not front.is_built():
      raise ValueError(
        f"--front=native needs {front.MODULE}: install gRPC's C++ library"
        " (Debian: libgrpc++-dev) and run python setup.py build_ext --inplace"
      )
    made = front.Front(
      self._settings,
      self.predictor,
      self.admission,
      limits,
      _CALLS_PER_THREAD * self._num_threads,
    )
    self.versions.on_change = lambda: made.serve(self.versions)
    self._metrics.before_page = made.note
    return made

  def _load_beside(self, folder: pathlib.Path, version: int) -> Model:
    with self.admission.patient():
      return self._load(folder, version)

  def start(self) -> None:
    """Loads what is there and begins to answer.

    Raises:
      ValueError: No version can be served, or a port cannot be had.
    """
    self.versions.refresh()
    if self.versions.current is None:
      raise ValueError(self._why_nothing())
    try:
      self._listen()
    except (OSError, RuntimeError, ValueError) as error:
      if self._front is not None:
        self._front.stop(0.0)
        self._grpc.stop(None)
      self.versions.close()
      raise ValueError(
        f"cannot listen at {self._settings.host}: {error}"
      ) from error
    self._poller.start()
    self._set_health(health_pb2.HealthCheckResponse.SERVING)
    self.predictor.is_ready = True
    place = f"gRPC at {self._settings.host}:{self.port}"
    if self.rest_port is not None:
      place += f", REST at {self._settings.host}:{self.rest_port}"
    self.log.tell(
      f"model {self._settings.model_name!r} is served: {place};"
      f" {self.admission.max_running} searches run, others wait at most"
      f" {self._settings.max_wait_ms:g} ms"
    )

  def _why_nothing(self) -> str:
    reasons = [
      f"version {status.version}: {status.reason}"
      for status in self.versions.statuses()
    ]
    path = self.versions.base_path
    if not reasons:
      return f"{path} holds no version; run --job-type export"
    return f"no version of {path} can be served: {'; '.join(reasons)}"

  def _listen(self) -> None:
    address = f"{self._settings.host}:{self._settings.port}"
    if self._front is not None:
      self._grpc.add_insecure_port(self._front.python_address)
      self._grpc.start()
      self.port = self._front.listen()
    elif self._credentials is None:
      self.port = self._grpc.add_insecure_port(address)
    else:
      self.port = self._grpc.add_secure_port(address, self._credentials)
    if self._settings.rest_port >= 0:
      self._rest = _RestServer(
        self.predictor, self._metrics, self._settings, self._num_threads
      )
      self.rest_port = self._rest.port
      self._rest.start()
    if self._front is None:
      self._grpc.start()

  def _grpc_server(self) -> grpc.Server:
    server = grpc.server(
      concurrent.futures.ThreadPoolExecutor(
        self._num_threads, thread_name_prefix="grpc"
      ),
      # Refusing takes a thread too: beyond this the library refuses.
      maximum_concurrent_rpcs=_CALLS_PER_THREAD * self._num_threads,
      options=[
        (
          "grpc.max_receive_message_length",
          self._settings.max_message_mb * _MIB,
        ),
        ("grpc.max_send_message_length", -1),
        # Two servers on one port would each get some of the requests.
        ("grpc.so_reuseport", 0),
      ],
    )
    Services(self.predictor).add_to(server)
    health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
    names = (*_HEALTH_NAMES[1:], health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
    return server

  def _set_health(self, status: int) -> None:
    for name in (*_HEALTH_NAMES, self._settings.model_name):
      self._health.set(name, status)

  def stop(self) -> None:
    """Refuses what comes, lets end what runs, frees everything."""
    self.log.tell("shutting down")
    self.predictor.is_ready = False
    # Telling who watches can wait for one that went away without a word; it
    # ends when the gRPC server does.
    telling = threading.Thread(
      target=self._set_health,
      args=(health_pb2.HealthCheckResponse.NOT_SERVING,),
      daemon=True,
    )
    telling.start()
    telling.join(_LAST_ANSWERS_S)
    self.admission.close()
    self._poller.stop()
    # Until then newcomers are told that they may go elsewhere (UNAVAILABLE); a
    # stopped gRPC server cancels them.
    self.admission.wait_until_empty(self._settings.drain_s)
    if self._front is not None:
      self._front.stop(_LAST_ANSWERS_S)
    stopped = self._grpc.stop(_LAST_ANSWERS_S)
    if self._rest is not None:
      self._rest.stop(_LAST_ANSWERS_S)
    stopped.wait(_LAST_ANSWERS_S + self._settings.drain_s)
    self.versions.close()
    self.log.tell("shut down")


def _credentials(settings: ServeSettings) -> grpc.ServerCredentials | None:
  """Reads the certificates. Raises FileNotFoundError."""
  if not settings.tls_cert:
    return None
  pair = (_read(settings.tls_key), _read(settings.tls_cert))
  roots = _read(settings.tls_client_ca) if settings.tls_client_ca else None
  return grpc.ssl_server_credentials(
    [pair], roots, require_client_auth=roots is not None
  )


def _read(path: str) -> bytes:
  file = pathlib.Path(path)
  if not file.is_file():
    raise FileNotFoundError(f"{path} is missing")
  return file.read_bytes()


class _RestServer:
  """uvicorn in a thread of its own."""

  def __init__(
    self,
    predictor: Predictor,
    metrics: Metrics,
    settings: ServeSettings,
    num_threads: int,
  ) -> None:
    self._threads = concurrent.futures.ThreadPoolExecutor(
      num_threads, thread_name_prefix="rest"
    )
    application = rest.application(
      predictor,
      metrics,
      self._threads,
      settings.max_message_mb * _MIB,
      settings.rest_timeout_s,
    )
    has_client_ca = bool(settings.tls_client_ca)
    self._server = uvicorn.Server(
      uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ssl_certfile=settings.tls_cert or None,
        ssl_keyfile=settings.tls_key or None,
        ssl_ca_certs=settings.tls_client_ca or None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if has_client_ca else ssl.CERT_NONE,
        timeout_graceful_shutdown=int(_LAST_ANSWERS_S),
      )
    )
    self._socket = socket.create_server((settings.host, settings.rest_port))
    self.port: int = self._socket.getsockname()[1]
    self._thread = threading.Thread(
      target=self._server.run, args=([self._socket],), name="rest", daemon=True
    )

  def start(self) -> None:
    self._thread.start()

  def stop(self, seconds: float) -> None:
    """Returns when all requests have ended, or the time is over."""
    self._server.should_exit = True
    self._thread.join(seconds + 5)
    self._threads.shutdown(wait=False)
    self._socket.close()
