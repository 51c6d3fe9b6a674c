"""What a model answers: a function of tensors with named inputs and outputs."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Input:
  """An input of a signature.

  Attributes:
    dtype: Type of its elements.
    shape: None where any number will do.
    default: What is taken if a request leaves it out; None: it is needed.
  """

  dtype: tf.DType
  shape: tuple[int | None, ...]
  default: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Signature:
  """A function that a model offers.

  Attributes:
    name: Its name.
    inputs: Its inputs by name.
    answer: (tensors by name) -> tensors by name.
  """

  name: str
  inputs: Mapping[str, Input]
  answer: Callable[..., dict[str, tf.Tensor]]
