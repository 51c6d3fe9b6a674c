"""The log: a line for each request, to read or as JSON."""

import io
import json

from nann.serving.access_log import AccessLog

FIELDS = {
  "protocol": "grpc",
  "peer": "ipv4:127.0.0.1:5",
  "signature": None,
  "ms": 1.5,
  "error": "no such\nthing",
}


def test_request_is_one_line_to_read() -> None:
  stream = io.StringIO()
  AccessLog(is_json=False, stream=stream).request(FIELDS, 0.0)
  [line] = stream.getvalue().splitlines()
  moment, rest = line.split(" ", 1)
  assert moment.endswith("Z")
  assert rest == (
    'protocol=grpc peer=ipv4:127.0.0.1:5 ms=1.50 error="no such\\nthing"'
  )


def test_request_is_one_json_object() -> None:
  stream = io.StringIO()
  log = AccessLog(is_json=True, stream=stream)
  log.request(FIELDS, 0.0)
  log.tell("version 3 answers")
  request, server = map(json.loads, stream.getvalue().splitlines())
  assert request["event"] == "request"
  assert request["error"] == "no such\nthing"
  assert "signature" not in request
  assert server["message"] == "version 3 answers"


def test_requests_may_be_left_out() -> None:
  stream = io.StringIO()
  log = AccessLog(is_json=False, with_requests=False, stream=stream)
  log.request(FIELDS, 0.0)
  log.tell("shut down")
  assert stream.getvalue().endswith("Z shut down\n")
  assert len(stream.getvalue().splitlines()) == 1
