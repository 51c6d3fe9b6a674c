"""The compiled models and limits (ops/serving), with their types in Python.

Their module wants TensorFlow's libraries, which are found because TensorFlow
has been imported before.
"""

from collections.abc import Sequence
from typing import TypeAlias

import tensorflow as tf  # noqa: F401

from nann._serving import (
  Admission,
  Model,
  Prediction,
  RequestLog,
  RunError,
  Turn,
)

__all__ = [
  "Admission",
  "ArrayParts",
  "Model",
  "Prediction",
  "Record",
  "RequestLog",
  "RunError",
  "Turn",
]

# Type, shape, and raw values or texts.
ArrayParts: TypeAlias = tuple[int, Sequence[int], bytes | Sequence[bytes]]
# Peer, signature, version, code, message, seconds, seconds waited, users,
# items scored for each, moment of its end.
Record: TypeAlias = tuple[
  str, str, int, int, str, float, float, int, list[int], float
]
