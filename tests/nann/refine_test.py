"""New neighbor lists: the rule of choosing, links both ways, recall."""

import numpy as np

import nann
from nann import _core


def chosen_plainly(
  vectors: np.ndarray,
  row: int,
  candidates: list[int],
  degree: int,
  alpha: float,
) -> list[int]:
  def distance(a: int, b: int) -> float:
    return float(np.linalg.norm(vectors[a] - vectors[b]))

  near_first = sorted(
    {c for c in candidates if c >= 0 and c != row},
    key=lambda c: (distance(row, c), c),
  )
  kept: list[int] = []
  for candidate in near_first:
    to_row = distance(row, candidate)
    if all(alpha * distance(candidate, other) >= to_row for other in kept):
      kept.append(candidate)
  return kept[:degree]


def test_neighbors_are_chosen_by_the_rule() -> None:
  rng = np.random.default_rng(0)
  vectors = rng.integers(0, 30, (60, 3)).astype(np.float32)
  candidates = rng.integers(-1, 60, (60, 25)).astype(np.int32)
  got = _core.choose_neighbors(vectors, 0, candidates, 6, 1.1, 3)
  for row in range(60):
    expected = chosen_plainly(vectors, row, candidates[row].tolist(), 6, 1.1)
    assert got[row][got[row] >= 0].tolist() == expected


def test_links_go_both_ways_while_there_is_room() -> None:
  vectors = np.arange(4, dtype=np.float32)[:, None]
  table = np.array([[1, 3], [-1, -1], [1, -1], [-1, -1]], np.int32)
  got = _core.link_both_ways(vectors, table, 1.0, 2)
  assert got.tolist() == [[1, 3], [0, 2], [1, -1], [0, -1]]


def test_refined_graph_finds_more_from_as_much() -> None:
  rng = np.random.default_rng(1)
  vectors = rng.normal(size=(3000, 12)).astype(np.float32)
  queries = rng.normal(size=(50, 12)).astype(np.float32)
  # Lists of poor neighbors: some near rows, some at random.
  distances = ((vectors[:, None, :4] - vectors[:, :4]) ** 2).sum(axis=-1)
  near = np.argsort(distances, axis=1)[:, 1:9]
  edges = np.concatenate([near, rng.integers(0, 3000, (3000, 8))], axis=1)
  graph = nann.Graph.from_edges(edges.astype(np.int32))
  refined = graph.refined(vectors, degree=16, num_threads=2)
  assert refined.num_rows == 3000

  exact = np.argsort(((queries[:, None] - vectors) ** 2).sum(axis=-1), axis=1)

  def recall(of: nann.Graph) -> float:
    found = of.vector_index(vectors).search(queries, 10, ef=20)
    pairs = zip(exact[:, :10], found.rows, strict=True)
    return float(np.mean([np.isin(*pair).mean() for pair in pairs]))

  assert recall(refined) > recall(graph) + 0.1
