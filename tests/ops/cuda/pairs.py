"""Random scorers of pairs, and what they score, in plain NumPy."""

import itertools
from typing import NamedTuple

import numpy as np

from benchmark import cuda_library as cuda
from benchmark import cuda_scorers as scorers


class Way(NamedTuple):
  """How products are taken.

  Attributes:
    kind: Of the items' state.
    uses_matrix_units: Or float32 throughout.
    tolerance: Of the largest error, as a part of the range of scores.
  """

  kind: int
  uses_matrix_units: bool
  tolerance: float


WAYS = {
  "float32": Way(scorers.FLOAT32, False, 1e-5),
  "float16": Way(scorers.FLOAT16, False, 1e-5),
  "bfloat16": Way(scorers.BFLOAT16, False, 1e-5),
  "float16 in matrix units": Way(scorers.FLOAT16, True, 3e-3),
  "bfloat16 in matrix units": Way(scorers.BFLOAT16, True, 3e-2),
}


class Shape(NamedTuple):
  """Widths: of the query, the history, the hidden layer, and the layers."""

  query_width: int
  length: int
  width: int
  outputs: tuple[int, ...]
  has_user_hidden: bool


SHAPES = {
  "attention": Shape(128, 50, 128, (64, 32), False),
  "long history": Shape(16, 70, 48, (96,), True),
  "no layer": Shape(16, 3, 144, (), False),
  "layers": Shape(0, 0, 32, (16,), True),
}


class World(NamedTuple):
  """A scorer with its items and users.

  Attributes:
    way: How it is to be scored.
    query: [I, Q] of the type.
    hidden: [I, W] of the type.
    users: State of B users.
    weights: Of the layers.
  """

  way: Way
  query: np.ndarray
  hidden: np.ndarray
  users: scorers.PairUsers
  weights: scorers.PairWeights

  def scorer(self, library: cuda.Library) -> scorers.PairScorer:
    return scorers.PairScorer(
      library,
      self.query,
      self.hidden,
      self.users,
      self.weights,
      self.way.kind,
      self.way.uses_matrix_units,
    )

  def scores(self) -> np.ndarray:
    """Returns the scores [B, I] float32."""
    return np.stack([self._scores_of(i) for i in range(len(self.users.keys))])

  def _scores_of(self, user: int) -> np.ndarray:
    state, weights = self.users, self.weights
    x = scorers.as_floats(self.hidden, self.way.kind)
    if self.query.shape[1]:
      query = scorers.as_floats(self.query, self.way.kind)
      logits = query @ state.keys[user] + state.key_bias[user]
      factors = np.exp(logits - logits.max(-1, keepdims=True))
      factors /= factors.sum(-1, keepdims=True)
      x = x + factors @ state.values[user]
    if state.hidden is not None:
      x = x + state.hidden[user]
    x = _prelu(x, weights.slopes[0])
    for kernel, bias, slope in zip(
      weights.kernels, weights.biases, weights.slopes[1:], strict=True
    ):
      x = _prelu(x @ kernel + bias, slope)
    return (x @ weights.out).astype(np.float32)


def _prelu(x: np.ndarray, slope: np.ndarray) -> np.ndarray:
  return np.where(x > 0, x, x * slope)


def make_world(
  shape: str, way: str, num_rows: int, num_users: int, seed: int
) -> World:
  """Draws a scorer of one of the shapes, of numbers around 1."""
  rng = np.random.default_rng(seed)
  sizes, kind = SHAPES[shape], WAYS[way].kind

  def draw(*size: int) -> np.ndarray:
    return rng.normal(size=size).astype(np.float32)

  widths = [sizes.width, *sizes.outputs]
  return World(
    WAYS[way],
    scorers.as_type(draw(num_rows, sizes.query_width), kind),
    scorers.as_type(draw(num_rows, sizes.width), kind),
    scorers.PairUsers(
      draw(num_users, sizes.query_width, sizes.length) / 10,
      draw(num_users, sizes.length),
      draw(num_users, sizes.length, sizes.width),
      draw(num_users, sizes.width) if sizes.has_user_hidden else None,
    ),
    scorers.PairWeights(
      [0.2 * draw(width) for width in widths],
      [
        draw(inputs, outputs) / np.sqrt(inputs).astype(np.float32)
        for inputs, outputs in itertools.pairwise(widths)
      ],
      [draw(width) for width in sizes.outputs],
      draw(widths[-1]),
    ),
  )


def make_whole_world(
  way: str, num_rows: int, num_users: int, seed: int
) -> World:
  """Draws a scorer whose every sum is a whole number, however it is rounded.

  Each item attends to one position alone: its logit is so much larger that the
  other weights are 0.
  """
  rng = np.random.default_rng(seed)
  kind, length, width = WAYS[way].kind, 16, 32

  def draw(*size: int) -> np.ndarray:
    return rng.integers(-2, 3, size).astype(np.float32)

  chosen = np.eye(length, dtype=np.float32)[rng.integers(0, length, num_rows)]
  keys = np.stack([rng.permutation(np.eye(length)) for _ in range(num_users)])
  return World(
    WAYS[way],
    scorers.as_type(128 * chosen, kind),
    scorers.as_type(draw(num_rows, width), kind),
    scorers.PairUsers(
      keys.astype(np.float32),
      np.zeros((num_users, length), np.float32),
      draw(num_users, length, width),
      draw(num_users, width),
    ),
    scorers.PairWeights(
      [np.full(width, 2, np.float32), np.full(16, 1, np.float32)],
      [np.eye(width, 16, dtype=np.float32)],
      [draw(16)],
      draw(16),
    ),
  )
