"""What a client is told when a request fails: a status code and a sentence."""

import re
from typing import TypeAlias

import grpc

Code: TypeAlias = grpc.StatusCode

HTTP_STATUS = {
  Code.OK: 200,
  Code.INVALID_ARGUMENT: 400,
  Code.OUT_OF_RANGE: 400,
  Code.FAILED_PRECONDITION: 400,
  Code.UNAUTHENTICATED: 401,
  Code.PERMISSION_DENIED: 403,
  Code.NOT_FOUND: 404,
  Code.ALREADY_EXISTS: 409,
  Code.ABORTED: 409,
  Code.RESOURCE_EXHAUSTED: 429,
  Code.CANCELLED: 499,
  Code.UNKNOWN: 500,
  Code.INTERNAL: 500,
  Code.DATA_LOSS: 500,
  Code.UNIMPLEMENTED: 501,
  Code.UNAVAILABLE: 503,
  Code.DEADLINE_EXCEEDED: 504,
}

_BY_NUMBER = {code.value[0]: code for code in Code}
# What a run may tell the client about its own request; the rest is the server's
# fault.
_OF_THE_REQUEST = {
  Code.INVALID_ARGUMENT,
  Code.OUT_OF_RANGE,
  Code.RESOURCE_EXHAUSTED,
  Code.CANCELLED,
  Code.DEADLINE_EXCEEDED,
}
# Where in the graph it happened: of no use to a client.
_PLACES = re.compile(r"\{\{.*?\}\}|\[Op:.*?\]|\[\[.*?\]\]")
_MOST_LETTERS = 500


class ServingError(Exception):
  """A request that was not answered.

  Attributes:
    code: The status.
    message: A sentence for the client.
  """

  def __init__(self, code: Code, message: str) -> None:
    super().__init__(message)
    self.code = code
    self.message = message


def invalid(message: str) -> ServingError:
  """Returns the error of a request that can never be answered."""
  return ServingError(Code.INVALID_ARGUMENT, message)


def not_found(message: str) -> ServingError:
  """Returns the error of a request for what is not here."""
  return ServingError(Code.NOT_FOUND, message)


def from_status(number: int, message: str) -> ServingError:
  """Returns what a client is told about a failed run of the graph.

  Args:
    number: Of the status code.
    message: Of TensorFlow.
  """
  code = _BY_NUMBER.get(number, Code.INTERNAL)
  if code not in _OF_THE_REQUEST:
    return ServingError(
      Code.INTERNAL, "the model failed on this request; see the server's log"
    )
  if code == Code.OUT_OF_RANGE:
    code = Code.INVALID_ARGUMENT
  return ServingError(code, first_sentence(message))


def first_sentence(message: str) -> str:
  """Returns the first line of a message, without places in the graph."""
  text = _PLACES.sub("", message).strip().split("\n")[0].strip()
  return text[:_MOST_LETTERS] or "the request was refused"
