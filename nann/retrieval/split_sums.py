"""Sums whose terms belong to the user, the item or both, not yet added up."""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from nann.retrieval.split_graph import Color


class Product(NamedTuple):
  """A product that is not made yet.

  Attributes:
    x: [n, *, K], in the new graph.
    kernel: [K, M].
  """

  x: tf.Tensor
  kernel: np.ndarray


class Sum(NamedTuple):
  """Terms by color, not yet added up.

  Attributes:
    terms: Of [n, *, M]; a dimension may be 1 where the term is repeated.
    bias: [M] or [1].
  """

  terms: dict[Color, tf.Tensor | Product]
  bias: np.ndarray | None = None


def made(term: tf.Tensor | Product) -> tf.Tensor:
  """Returns a term as a tensor."""
  if isinstance(term, Product):
    return tf.matmul(term.x, term.kernel)
  return term


def added_up(found: Sum) -> tf.Tensor:
  """Adds what both sides know last, and the bias to one side if it can."""
  colors = sorted(found.terms, key=lambda color: color.value)
  terms = [made(found.terms[color]) for color in colors]
  if found.bias is not None:
    terms[0] = terms[0] + tf.constant(found.bias)
  return functools.reduce(tf.add, terms)


def scaled(found: Sum, factor: np.ndarray) -> Sum:
  """Returns a sum times a constant [M] or [1]."""
  terms = {
    color: term._replace(kernel=term.kernel * factor)
    if isinstance(term, Product)
    else term * tf.constant(factor)
    for color, term in found.terms.items()
  }
  return Sum(terms, None if found.bias is None else found.bias * factor)


def plus(
  left: np.ndarray | None, right: np.ndarray | None
) -> np.ndarray | None:
  """Adds biases, None being none."""
  if left is None or right is None:
    return right if left is None else left
  return left + right
