import numpy as np
import pytest

from nann.index import build, nearest
from nann.retrieval import profiles
from tests.nann.retrieval import retriever_test

NUM_ITEMS = retriever_test.NUM_ITEMS


@pytest.fixture(scope="module")
def retriever() -> retriever_test.Retriever:
  return retriever_test.make()


def test_profile_keeps_the_distances_of_all_scores(
  retriever: retriever_test.Retriever,
) -> None:
  histories = retriever_test.histories(12)
  exact = retriever_test.brute_force.exact_search(
    retriever, histories, NUM_ITEMS
  )
  found = retriever_test.results.concatenate(list(exact))
  scores = np.empty((NUM_ITEMS, 12))
  scores[found.rows.T, np.arange(12)] = found.scores.T
  above = scores - np.quantile(scores, 0.9, axis=0)
  wanted = np.where(above > 0, above, 0.1 * above)
  # As many components as users: nothing is lost.
  got = profiles.score_profiles(retriever, histories, 12, seed=0)
  assert got.shape == (NUM_ITEMS, 12)

  def distances(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors[:, None] - vectors[None], axis=2)

  np.testing.assert_allclose(distances(got), distances(wanted), atol=1e-4)


def test_first_component_says_most(retriever: retriever_test.Retriever) -> None:
  got = profiles.score_profiles(
    retriever, retriever_test.histories(12), 3, seed=0
  )
  assert got.shape == (NUM_ITEMS, 3)
  assert (np.diff(got.var(axis=0)) < 0).all()


def test_progress_adds_up_to_the_items(
  retriever: retriever_test.Retriever,
) -> None:
  seen: list[int] = []
  profiles.score_profiles(
    retriever, retriever_test.histories(2), 2, 0, seen.append
  )
  assert sum(seen) == NUM_ITEMS


def test_graph_links_items_that_are_alike_in_profile() -> None:
  rng = np.random.default_rng(0)
  embeddings = rng.normal(size=(400, 8)).astype(np.float32)
  # 40 groups of items that the same users like.
  groups = np.arange(400) % 40
  liked = 5 * rng.normal(size=(40, 6)).astype(np.float32)[groups]
  liked += 0.01 * rng.normal(size=liked.shape).astype(np.float32)

  def share_inside(profile: np.ndarray | None) -> float:
    made = build.build_flat(embeddings, 8, 8, 4, 6, 1, 0, profiles=profile)
    (level,) = made.graph.levels
    rows = np.repeat(np.arange(400), np.diff(level.row_splits))
    return float((groups[rows] == groups[level.values]).mean())

  assert share_inside(liked) > 3 * share_inside(None)


def test_graph_keeps_the_nearest_by_embedding() -> None:
  rng = np.random.default_rng(1)
  embeddings = rng.normal(size=(300, 8)).astype(np.float32)
  profile = rng.normal(size=(300, 4)).astype(np.float32)
  made = build.build_flat(embeddings, 8, 8, 4, 6, 1, 0, profiles=profile)
  (level,) = made.graph.levels
  near = nearest.nearest_rows(embeddings, embeddings, 3)[:, 1:]
  for row in range(300):
    assert set(near[row]) <= set(level.neighbors(row))
