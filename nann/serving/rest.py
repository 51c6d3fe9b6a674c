"""TensorFlow Serving's REST interface, and the page for Prometheus.

The event loop reads and writes; requests run in threads, after the same
admission as gRPC's.
"""

import asyncio
import concurrent.futures
import json
from collections.abc import Callable
from typing import Any

import prometheus_client
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from tensorflow_serving.apis import get_model_metadata_pb2

from nann.serving import errors, model_info, rest_format
from nann.serving.call_limit import CallLimit
from nann.serving.metrics import Metrics
from nann.serving.predictor import Call, Predictor, Spec

_LARGEST_VERSION = 2**63 - 1


def application(
  predictor: Predictor,
  metrics: Metrics,
  threads: concurrent.futures.Executor,
  max_body_bytes: int,
  timeout_s: float,
) -> Starlette:
  """Makes the application.

  Args:
    predictor: Answers.
    metrics: To show.
    threads: Where requests run, at least as many as are let in.
    max_body_bytes: Of a request.
    timeout_s: The deadline of a request: HTTP knows none.
  """
  handlers = _Handlers(predictor, metrics, threads, max_body_bytes, timeout_s)
  routes = [
    Route("/monitoring/prometheus/metrics", handlers.metrics),
    Route("/healthz", handlers.health),
  ]
  for place in ("", "/versions/{version}", "/labels/{label}"):
    path = "/v1/models/{name}" + place
    routes += [
      Route(path + "/metadata", handlers.metadata),
      Route(path + ":predict", handlers.predict, methods=["POST"]),
      Route(path + ":{verb}", handlers.not_supported, methods=["POST"]),
      Route(path, handlers.status),
    ]
  return Starlette(
    routes=routes,
    exception_handlers={
      HTTPException: _http_error,
      errors.ServingError: _serving_error,
      Exception: _unknown_error,
    },
  )


class _Handlers:
  """One method for each route."""

  def __init__(
    self,
    predictor: Predictor,
    metrics: Metrics,
    threads: concurrent.futures.Executor,
    max_body_bytes: int,
    timeout_s: float,
  ) -> None:
    self._predictor = predictor
    self._metrics = metrics
    self._threads = threads
    self._max_body_bytes = max_body_bytes
    self._timeout_s = timeout_s

  async def predict(self, request: Request) -> Response:
    call = Call("rest", _peer(request), CallLimit(self._timeout_s))
    with self._predictor.observed(call), self._predictor.admission.admitted():
      body = await self._body(request)
      leaving = asyncio.ensure_future(_cancel_if_gone(request, call.limit))
      try:
        answer = await self._in_thread(
          lambda: self._answer(call, _spec(request), body)
        )
      except asyncio.CancelledError:
        # The server stops and waits no longer.
        call.limit.cancel()
        raise
      finally:
        leaving.cancel()
    return Response(answer, media_type="application/json")

  def _answer(self, call: Call, spec: Spec, body: bytes) -> bytes:
    content = rest_format.parse(body)
    name = content.get("signature_name", "")
    answer = self._predictor.predict(
      call,
      Spec(spec.model, name, spec.version, spec.label),
      lambda signature: rest_format.read_inputs(content, signature),
    )
    return rest_format.answer(content, answer.outputs)

  async def _body(self, request: Request) -> bytes:
    parts, size = [], 0
    try:
      async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > self._max_body_bytes:
          raise errors.ServingError(
            errors.Code.RESOURCE_EXHAUSTED,
            f"the body has over {self._max_body_bytes:,} bytes",
          )
    except ClientDisconnect as error:
      raise errors.ServingError(
        errors.Code.CANCELLED, "the client went while it sent"
      ) from error
    return b"".join(parts)

  async def _in_thread(self, function: Callable[[], Any]) -> Any:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(self._threads, function)

  async def status(self, request: Request) -> Response:
    response = model_info.status(self._predictor, _spec(request))
    return _json(_as_dict(response))

  async def metadata(self, request: Request) -> Response:
    response = model_info.metadata(self._predictor, _spec(request))
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    return _json(
      {
        "model_spec": _as_dict(response.model_spec),
        "metadata": {"signature_def": _as_dict(signatures)},
      }
    )

  async def not_supported(self, request: Request) -> Response:
    verb = request.path_params["verb"]
    raise errors.ServingError(
      errors.Code.UNIMPLEMENTED,
      f"{verb[:80]!r} is not served here; use predict",
    )

  async def metrics(self, request: Request) -> Response:
    del request
    page = await self._in_thread(self._metrics.page)
    return Response(page, media_type=prometheus_client.CONTENT_TYPE_LATEST)

  async def health(self, request: Request) -> Response:
    del request
    is_ready = self._predictor.is_ready
    return _json({"is_ready": is_ready}, 200 if is_ready else 503)


def _peer(request: Request) -> str:
  return (
    f"{request.client.host}:{request.client.port}" if request.client else ""
  )


def _spec(request: Request) -> Spec:
  parameters = request.path_params
  version = parameters.get("version")
  number = None
  if version is not None:
    if not (version.isascii() and version.isdigit() and len(version) < 20):
      raise errors.invalid(f"version {version[:80]!r} is no number")
    number = min(int(version), _LARGEST_VERSION)
  return Spec(parameters["name"], "", number, parameters.get("label"))


async def _cancel_if_gone(request: Request, limit: CallLimit) -> None:
  """Ends a request whose client closes the connection."""
  while True:
    message = await request.receive()
    if message["type"] == "http.disconnect":
      limit.cancel()
      return


def _as_dict(message: Any) -> dict[str, Any]:
  return json_format.MessageToDict(
    message,
    preserving_proto_field_name=True,
    always_print_fields_with_no_presence=True,
  )


def _json(content: Any, status: int = 200) -> Response:
  return Response(
    json.dumps(content, indent=1), status, media_type="application/json"
  )


async def _serving_error(request: Request, error: Exception) -> Response:
  del request
  assert isinstance(error, errors.ServingError)
  return _json({"error": error.message}, errors.HTTP_STATUS[error.code])


async def _http_error(request: Request, error: Exception) -> Response:
  assert isinstance(error, HTTPException)
  message = f"{request.method} {request.url.path[:200]}: {error.detail}"
  return _json({"error": message}, error.status_code)


async def _unknown_error(request: Request, error: Exception) -> Response:
  del request, error
  return _json({"error": "the server failed; see its log"}, 500)
