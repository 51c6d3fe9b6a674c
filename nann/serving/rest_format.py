"""JSON of TensorFlow Serving's REST interface to arrays and back.

https://www.tensorflow.org/tfx/serving/api_rest: a row format ("instances" ->
"predictions") and a columnar one ("inputs" -> "outputs").
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from nann.serving.errors import invalid
from nann.serving.signature import Arrays, Signature, TensorInfo
from nann.serving.tensors import MAX_ELEMENTS

_KEYS = ("signature_name", "instances", "inputs")
_BASE64 = "b64"
_LARGEST_DEPTH = 8


def parse(body: bytes) -> dict[str, Any]:
  """Reads the body of a request.

  Raises:
    ServingError: It is no JSON object with "instances" or "inputs".
  """
  try:
    content = json.loads(body)
  except (ValueError, RecursionError) as error:
    raise invalid(f"the body is no JSON: {str(error)[:200]}") from error
  if not isinstance(content, dict):
    raise invalid("the body is no JSON object")
  for key in content:
    if key not in _KEYS:
      raise invalid(f"unknown key {key[:80]!r}, wanted {', '.join(_KEYS)}")
  if ("instances" in content) == ("inputs" in content):
    raise invalid('wanted either "instances" (rows) or "inputs" (columns)')
  if not isinstance(content.get("signature_name", ""), str):
    raise invalid("signature_name is no text")
  return content


def read_inputs(content: Mapping[str, Any], signature: Signature) -> Arrays:
  """Returns the arrays of a request.

  Raises:
    ServingError: They do not fit the signature.
  """
  if "instances" in content:
    named = _columns_of(content["instances"], signature)
  else:
    named = _named(content["inputs"], signature)
  for name in named:
    if name not in signature.inputs:
      raise invalid(
        f"signature {signature.name!r} has no input {name[:80]!r}, wanted"
        f" {', '.join(signature.inputs)}"
      )
  return {
    name: _array(signature.inputs[name], value) for name, value in named.items()
  }


def _named(inputs: Any, signature: Signature) -> dict[str, Any]:
  """Returns columns by name; a signature of one input needs none."""
  if isinstance(inputs, dict) and _BASE64 not in inputs:
    return inputs
  if len(signature.inputs) != 1:
    raise invalid(
      f'"inputs" is no object of columns, wanted {", ".join(signature.inputs)}'
    )
  return {next(iter(signature.inputs)): inputs}


def _columns_of(instances: Any, signature: Signature) -> dict[str, Any]:
  """Returns columns of rows.

  An input that is not one of each user (k, level_topn) stands in every row, the
  same in each.
  """
  if not isinstance(instances, list) or not instances:
    raise invalid('"instances" is no list of at least one row')
  if not all(isinstance(row, dict) and _BASE64 not in row for row in instances):
    return _named(instances, signature)
  names = list(instances[0])
  for number, row in enumerate(instances):
    if row.keys() != instances[0].keys():
      raise invalid(
        f"row {number} of the instances has {', '.join(row) or 'nothing'},"
        f" wanted {', '.join(names)} as in row 0"
      )
  columns = {}
  for name in names:
    values = [row[name] for row in instances]
    info = signature.inputs.get(name)
    if info is None or info.is_batched:
      columns[name] = values
      continue
    if any(value != values[0] for value in values):
      raise invalid(
        f"input {name!r} is one for all users, wanted the same in every row"
      )
    columns[name] = values[0]
  return columns


def _array(info: TensorInfo, value: Any) -> np.ndarray:
  """Makes an array of nested lists, strictly of the input's type."""
  shape = _shape(info, value)
  flat: list[Any] = []
  _flatten(info, value, shape, flat)
  if info.dtype.kind in "OSU":
    array = np.empty(len(flat), object)
    array[:] = [_text(info, x) for x in flat]
    return array.reshape(shape)
  for element in flat:
    _check_number(info, element)
  try:
    return np.array(flat, info.dtype).reshape(shape)
  except (OverflowError, ValueError) as error:
    raise invalid(
      f"input {info.name!r} holds a value that is no {info.dtype.name}"
    ) from error


def _shape(info: TensorInfo, value: Any) -> list[int]:
  shape = []
  while isinstance(value, list):
    shape.append(len(value))
    if len(shape) > _LARGEST_DEPTH:
      raise invalid(f"input {info.name!r} is nested too deeply")
    if not value:
      # Nothing says how wide an empty list is; the signature may.
      rest = (info.shape or ())[len(shape) :]
      return shape + [size or 0 for size in rest]
    value = value[0]
  return shape


def _flatten(
  info: TensorInfo, value: Any, shape: list[int], flat: list[Any]
) -> None:
  if not shape:
    if isinstance(value, list):
      raise invalid(f"input {info.name!r} is ragged: its lists differ in depth")
    flat.append(value)
    return
  if not isinstance(value, list) or len(value) != shape[0]:
    raise invalid(
      f"input {info.name!r} is ragged: wanted lists of the same length; pad"
      " them"
    )
  if len(flat) + len(value) > MAX_ELEMENTS:
    raise invalid(f"input {info.name!r} has over {MAX_ELEMENTS:,} elements")
  for element in value:
    _flatten(info, element, shape[1:], flat)


def _check_number(info: TensorInfo, value: Any) -> None:
  kind = info.dtype.kind
  if kind == "b":
    fits = isinstance(value, bool)
  elif kind in "iu":
    fits = isinstance(value, int) and not isinstance(value, bool)
  else:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
  if not fits:
    raise invalid(
      f"input {info.name!r} holds {str(value)[:80]!r}, wanted {info.dtype.name}"
    )


def _text(info: TensorInfo, value: Any) -> bytes:
  if isinstance(value, str):
    return value.encode("utf-8", "surrogatepass")
  if isinstance(value, dict) and list(value) == [_BASE64]:
    try:
      return base64.b64decode(value[_BASE64], validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
      raise invalid(f"input {info.name!r} holds damaged base64") from error
  raise invalid(
    f"input {info.name!r} holds {str(value)[:80]!r}, wanted text or"
    ' {"b64": ...}'
  )


def answer(content: Mapping[str, Any], outputs: Arrays) -> bytes:
  """Returns the body of an answer, in the format of its request."""
  columns = {name: _plain(array) for name, array in outputs.items()}
  if "inputs" in content:
    shown: Any = {"outputs": columns}
    if len(columns) == 1:
      shown = {"outputs": next(iter(columns.values()))}
  elif len(columns) == 1:
    shown = {"predictions": next(iter(columns.values()))}
  else:
    number = len(next(iter(columns.values())))
    rows = [
      {name: column[row] for name, column in columns.items()}
      for row in range(number)
    ]
    shown = {"predictions": rows}
  return json.dumps(shown).encode()


def _plain(array: np.ndarray) -> Any:
  if array.dtype.kind in "OS":
    return _decoded(array.tolist())
  if array.dtype.kind == "f" and array.dtype.itemsize < 4:
    array = array.astype(np.float32)
  return array.tolist()


def _decoded(value: Any) -> Any:
  if isinstance(value, list):
    return [_decoded(element) for element in value]
  try:
    return value.decode()
  except UnicodeDecodeError:
    return {_BASE64: base64.b64encode(value).decode()}
