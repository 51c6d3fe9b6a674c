import numpy as np
import pytest
import tensorflow as tf

from nann.index import build
from nann.index.graph import Index
from nann.model import scorer as scorers
from nann.model.layers import Phase
from nann.model.scorer import Items, ScorerSpec
from nann.retrieval import brute_force, inference
from nann.retrieval import result as results
from nann.retrieval.items import ItemArrays
from nann.retrieval.retriever import Retriever

NUM_ITEMS, NUM_CATEGORIES = 300, 6
TABLE = np.concatenate([[0], np.arange(NUM_ITEMS) % 6 + 1])
PAPER = results.PaperPolicy((30, 20), (2, 1))
BEST_FIRST = results.BestFirstPolicy(40, 8, 50, 10_000)


def make(
  num_items: int = NUM_ITEMS,
  shuffled: bool = False,
  dtype: str = "float32",
  name: str = "attention",
) -> Retriever:
  spec = ScorerSpec(NUM_ITEMS, NUM_CATEGORIES, emb_dim=4, seed=0)
  scorer = scorers.create(name, spec)
  item_ids = np.arange(1, num_items + 1)
  if shuffled:
    item_ids = np.random.default_rng(0).permutation(item_ids)
  items = Items(tf.constant(item_ids), tf.constant(TABLE[item_ids]))
  embeddings = scorer.item_embedding(items, Phase.INFERENCE).numpy()
  arrays = ItemArrays(item_ids, TABLE[item_ids], embeddings)
  return Retriever(scorer, arrays, build_index(embeddings), TABLE, dtype)


def build_index(embeddings: np.ndarray) -> Index:
  return Index(
    build.build_hnsw(embeddings, "faiss", 4, 40, 1, 1, 0),
    build.build_flat(embeddings, 4, 8, 4, 8, 1, 0).graph,
  )


@pytest.fixture(scope="module")
def retriever() -> Retriever:
  return make()


def histories(number: int = 7) -> np.ndarray:
  rng = np.random.default_rng(1)
  found = rng.integers(1, NUM_ITEMS + 1, (number, 10))
  found[::2, 6:] = 0
  return found


def search(
  retriever: Retriever, users: np.ndarray, policy: results.Policy, k: int
) -> results.SearchResult:
  return results.concatenate(list(retriever.search(users, policy, k)))


def exact(
  retriever: Retriever, users: np.ndarray, k: int
) -> results.SearchResult:
  return results.concatenate(
    list(brute_force.exact_search(retriever, users, k))
  )


def all_scores(retriever: Retriever, users: np.ndarray) -> np.ndarray:
  state = retriever.user_state(tf.constant(users))
  return retriever.score_range(
    state, tf.constant(0), tf.constant(len(retriever.items))
  ).numpy()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("policy", [PAPER, BEST_FIRST])
def test_search_with_ids_in_the_state_gives_exact_scores(
  policy: results.Policy, dtype: str
) -> None:
  """Scorer nann_plus: ids of items and histories meet inside the search."""
  ours = make(shuffled=True, dtype=dtype, name="nann_plus")
  users = histories(12)
  found = search(ours, users, policy, 10)
  scores = all_scores(ours, users)
  for user in range(12):
    # Every user's own repetitions, in a batch with others.
    np.testing.assert_allclose(
      found.scores[user], scores[user][found.rows[user]], atol=1e-3
    )
  full = exact(ours, users, 10)
  shared = [
    len(np.intersect1d(a, b))
    for a, b in zip(found.rows, full.rows, strict=True)
  ]
  # Policy paper does not begin at the history: it may miss repetitions.
  assert np.mean(shared) > (8 if policy is BEST_FIRST else 5)
  # What was taken before comes first: repetition outweighs fresh weights.
  rows = ours.items.rows_of(users)
  assert all(row in rows[user] for user, row in enumerate(full.rows[:, 0]))


@pytest.mark.parametrize("name", ["attention", "nann_plus"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_answers_are_those_of_the_parts_in_stock_ops(
  name: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
  users = histories(25)
  fused_scorer = make(dtype=dtype, name=name)
  monkeypatch.setattr(inference.fused, "can_fuse", lambda parts: False)
  in_stock_ops = make(dtype=dtype, name=name)
  for policy in (PAPER, BEST_FIRST):
    got = search(fused_scorer, users, policy, 10)
    wanted = search(in_stock_ops, users, policy, 10)
    np.testing.assert_array_equal(got.rows, wanted.rows)
    np.testing.assert_array_equal(got.num_scored, wanted.num_scored)
    np.testing.assert_allclose(got.scores, wanted.scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("k", [1, 7, 300, 1000])
def test_exact_search_is_a_sort(retriever: Retriever, k: int) -> None:
  users = histories(20)
  found = exact(retriever, users, k)
  scores = all_scores(retriever, users)
  for user in range(20):
    order = np.lexsort((np.arange(NUM_ITEMS), -scores[user]))[:k]
    # Another block size rounds differently.
    np.testing.assert_allclose(
      found.scores[user], scores[user][order], atol=1e-5
    )
  assert found.rows.shape == (20, min(k, NUM_ITEMS))
  assert (found.total_scored == NUM_ITEMS).all()


@pytest.mark.parametrize("seed", range(30))
def test_best_keeps_ties_in_row_order(seed: int) -> None:
  rng = np.random.default_rng(seed)
  number, k = int(rng.integers(1, 60)), int(rng.integers(1, 10))
  scores = rng.integers(0, 4, (5, number)).astype(np.float32)
  rows = np.tile(rng.permutation(number).astype(np.int32), (5, 1))
  got_rows, got_scores = brute_force.best(rows, scores, k)
  for user in range(5):
    expected = sorted(zip(-scores[user], rows[user], strict=True))[:k]
    assert got_rows[user].tolist() == [row for _, row in expected]
    assert got_scores[user].tolist() == [-score for score, _ in expected]


@pytest.mark.parametrize("policy", [PAPER, BEST_FIRST])
def test_search_finds_most_of_the_exact_answer(
  retriever: Retriever, policy: results.Policy
) -> None:
  users = histories(30)
  found, full = (
    search(retriever, users, policy, 10),
    exact(retriever, users, 10),
  )
  shared = [
    len(np.intersect1d(a, b))
    for a, b in zip(found.rows, full.rows, strict=True)
  ]
  assert np.mean(shared) > 8


@pytest.mark.parametrize("policy", [PAPER, BEST_FIRST])
def test_batch_answers_like_single_queries(
  retriever: Retriever, policy: results.Policy
) -> None:
  users = histories(9)
  together = search(retriever, users, policy, 5)
  for user in range(9):
    alone = search(retriever, users[user : user + 1], policy, 5)
    np.testing.assert_array_equal(alone.rows[0], together.rows[user])
    np.testing.assert_array_equal(
      alone.num_scored[0], together.num_scored[user]
    )


@pytest.mark.parametrize("policy", [PAPER, BEST_FIRST])
def test_user_without_history_gets_an_answer(
  retriever: Retriever, policy: results.Policy
) -> None:
  found = search(retriever, np.zeros((1, 10), np.int64), policy, 5)
  assert (found.rows >= 0).all()
  assert np.isfinite(found.scores).all()


def test_item_outside_the_catalogue_leads_to_its_nearest_row() -> None:
  whole, part = make(), make(num_items=200)  # Items 201.. are not in it.
  absent = whole.items.embeddings[249]
  distance = np.linalg.norm(part.items.embeddings - absent, axis=1)
  near = part.items.item_ids[distance.argmin()]
  policy = results.BestFirstPolicy(10, 4, 1, 10_000)
  users = np.array([[250, 0], [near, 0]])
  by_absent, by_near = search(part, users, policy, 200).rows
  assert (part.items.rows_of(users) == [[-1, -1], [near - 1, -1]]).all()
  assert set(by_absent) == set(by_near)


def test_user_without_history_gets_the_exact_answer(
  retriever: Retriever,
) -> None:
  nobody = np.zeros((1, 10), np.int64)
  found = search(retriever, nobody, BEST_FIRST, 7)
  np.testing.assert_array_equal(found.rows, exact(retriever, nobody, 7).rows)
  assert found.total_scored.tolist() == [0]


def test_more_answers_than_items_are_padded(retriever: Retriever) -> None:
  users = np.concatenate([histories(1), np.zeros((1, 10), np.int64)])
  found = search(retriever, users, BEST_FIRST, NUM_ITEMS + 5)
  assert (found.rows[:, -5:] == -1).all()
  assert (found.rows[:, :-5] >= 0).sum(axis=1)[1] == NUM_ITEMS


@pytest.mark.parametrize("name", ["attention", "dnn", "two_tower"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_item_state_of_half_the_size_scores_nearly_alike(
  name: str, dtype: str
) -> None:
  users = histories(5)
  whole = all_scores(make(name=name), users)
  half = all_scores(make(name=name, dtype=dtype), users)
  assert not np.array_equal(whole, half)
  spread = whole.max() - whole.min()
  np.testing.assert_allclose(half, whole, atol=0.05 * spread)


def allowed_bits(share: float, number: int, seed: int = 0) -> np.ndarray:
  rng = np.random.default_rng(seed)
  mask = rng.random((number, NUM_ITEMS)) < share
  return np.packbits(mask, axis=1, bitorder="little")


@pytest.mark.parametrize("policy", [PAPER, BEST_FIRST])
@pytest.mark.parametrize("exclude_history", [False, True])
def test_filter_is_kept(
  retriever: Retriever, policy: results.Policy, exclude_history: bool
) -> None:
  users = histories(9)
  bits = allowed_bits(0.4, 9)
  found = results.concatenate(
    list(
      retriever.search(
        users, policy, 20, allowed=bits, exclude_history=exclude_history
      )
    )
  )
  full = results.concatenate(
    list(
      brute_force.exact_search(
        retriever, users, 20, allowed=bits, exclude_history=exclude_history
      )
    )
  )
  mask = np.unpackbits(bits, axis=1, bitorder="little")
  shared = []
  for user in range(9):
    rows = found.rows[user][found.rows[user] >= 0]
    assert mask[user, rows].all()
    assert mask[user, full.rows[user]].all()
    if exclude_history:
      ids = retriever.items.item_ids
      assert not np.isin(ids[rows], users[user]).any()
      assert not np.isin(ids[full.rows[user]], users[user]).any()
    shared.append(len(np.intersect1d(rows, full.rows[user])))
  assert np.mean(shared) > 15


def test_filtered_scan_equals_a_filtered_sort(retriever: Retriever) -> None:
  users, bits = histories(4), allowed_bits(0.1, 4)
  mask = np.unpackbits(bits, axis=1, count=NUM_ITEMS, bitorder="little")
  found = results.concatenate(
    list(brute_force.exact_search(retriever, users, 50, allowed=bits))
  )
  scores = all_scores(retriever, users)
  for user in range(4):
    rows = np.flatnonzero(mask[user])
    order = rows[np.lexsort((rows, -scores[user, rows]))]
    number = min(50, len(order))
    assert found.num_scored[user].sum() == len(rows)
    np.testing.assert_allclose(
      found.scores[user, :number], scores[user, order[:50]], atol=1e-5
    )
    assert (found.rows[user, number:] == -1).all()


def test_rows_need_not_be_in_the_order_of_the_ids(
  retriever: Retriever,
) -> None:
  """The original's files are shuffled."""
  shuffled, users = make(shuffled=True), histories()
  a = exact(retriever, users, 10)
  b = exact(shuffled, users, 10)
  ids_a = retriever.items.item_ids[a.rows]
  ids_b = shuffled.items.item_ids[b.rows]
  np.testing.assert_array_equal(ids_a, ids_b)


def test_graph_of_another_size_is_refused(retriever: Retriever) -> None:
  index = build_index(retriever.items.embeddings[:200])
  spec = ScorerSpec(NUM_ITEMS, NUM_CATEGORIES, emb_dim=4)
  with pytest.raises(ValueError, match="built for 200 items, embeddings"):
    Retriever(scorers.create("attention", spec), retriever.items, index, TABLE)
