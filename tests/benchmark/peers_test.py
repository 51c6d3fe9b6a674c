"""What our search is compared with answers what it should."""

from collections.abc import Iterator
from typing import Any

import frozen
import neural_peers
import numpy as np
import pytest
import tensorflow as tf
import two_tower_peers

from nann import ops
from nann.delivery import arrays
from nann.retrieval import brute_force
from nann.retrieval import result as results
from nann.retrieval.retriever import Retriever
from tests.nann.delivery import models

K = 10
POLICIES = (models.BEST_FIRST, models.PAPER)


@pytest.fixture(scope="module")
def retriever() -> Retriever:
  return models.retriever()


@pytest.fixture(scope="module")
def histories() -> np.ndarray:
  return models.histories()


def exact(retriever: Retriever, histories: np.ndarray) -> np.ndarray:
  found = brute_force.exact_search(retriever, histories, K)
  return results.concatenate(list(found)).rows


def rows_of(request: frozen.Request, histories: np.ndarray) -> np.ndarray:
  return np.concatenate([request(history[None])[0] for history in histories])


@pytest.mark.parametrize("policy", POLICIES)
def test_peers_of_the_search_walk_alike(
  retriever: Retriever, histories: np.ndarray, policy: results.Policy
) -> None:
  wanted = results.concatenate(
    list(retriever.search(histories, policy, K))
  ).rows
  requests = {
    "ours": frozen.search_request(retriever, policy, K),
    "unfolded": frozen.search_request(
      neural_peers.unfolded(retriever), policy, K
    ),
    "stock ops": neural_peers.stock_request(retriever, policy, K),
  }
  for name, request in requests.items():
    found = rows_of(request, histories)
    # Rounding may change the order of two.
    assert (found == wanted).mean() > 0.97, name


def test_scans_find_the_exact_answer(
  retriever: Retriever, histories: np.ndarray
) -> None:
  wanted = exact(retriever, histories)
  for request in (
    neural_peers.exact_request(retriever, K),
    neural_peers.KerasScan(retriever, K),
  ):
    assert (rows_of(request, histories) == wanted).mean() > 0.97


def test_large_arrays_are_read_where_they_lie() -> None:
  first = tf.random.stateless_normal([1 << 19], [0, 0])
  second = tf.random.stateless_normal([1 << 19], [0, 1])

  @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int64)])
  def both(histories: tf.Tensor) -> list[tf.Tensor]:
    return [first, second, tf.shape(histories)]

  *found, shape = frozen.callable_of(both)(np.ones([1, 3], np.int64))
  assert shape.tolist() == [1, 3]
  for values, tensor in zip(found, (first, second), strict=True):
    assert values.ctypes.data == arrays.as_array(tensor).ctypes.data


def test_variables_that_the_scorer_does_not_hold_are_refused() -> None:
  stranger = tf.Variable([1.0], name="stranger")

  @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int64)])
  def read(histories: tf.Tensor) -> tf.Tensor:
    return stranger + 1.0

  with pytest.raises(ValueError, match="reads the variable"):
    frozen.callable_of(read)


@pytest.fixture(scope="module")
def tower() -> two_tower_peers.TwoTower:
  return two_tower_peers.TwoTower(models.retriever("two_tower"))


def finders(
  tower: two_tower_peers.TwoTower, number: int
) -> Iterator[two_tower_peers.Answer]:
  for _, find in tower.answers(number, (4,)):
    yield find


def test_two_tower_finds_the_largest_inner_products(
  tower: two_tower_peers.TwoTower, histories: np.ndarray
) -> None:
  wanted = exact(models.retriever("two_tower"), histories)
  flat, hnsw = finders(tower, K)
  found = np.concatenate([flat(history[None]) for history in histories])
  assert (found == wanted).mean() > 0.97
  found = np.concatenate([hnsw(history[None]) for history in histories])
  assert (found == wanted).mean() > 0.5


def test_re_ranking_all_items_is_the_exact_scan(
  retriever: Retriever,
  tower: two_tower_peers.TwoTower,
  histories: np.ndarray,
) -> None:
  find, _ = finders(tower, len(retriever.items))
  answer = two_tower_peers.reranked(retriever, find, K)
  found = np.concatenate([answer(history[None]) for history in histories])
  assert (found == exact(retriever, histories)).mean() > 0.97


def test_re_ranking_few_items_pads_the_answer(
  retriever: Retriever,
  tower: two_tower_peers.TwoTower,
  histories: np.ndarray,
) -> None:
  find, _ = finders(tower, 3)
  (found,) = two_tower_peers.reranked(retriever, find, K)(histories[:1])
  assert sorted(found[:3]) == sorted(find(histories[:1])[0])
  assert (found[3:] == -1).all()


def test_peers_score_by_the_same_fused_op_as_ours(
  tower: two_tower_peers.TwoTower,
  histories: np.ndarray,
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  retriever = models.retriever("nann_plus")
  wanted = exact(retriever, histories)
  find, _ = finders(tower, len(retriever.items))
  calls = []
  term_score = ops.term_score

  def counted(*arguments: Any) -> tf.Tensor:
    calls.append(arguments)
    return term_score(*arguments)

  monkeypatch.setattr(ops, "term_score", counted)
  scan = neural_peers.exact_request(retriever, K)
  assert len(calls) == 1
  answer = two_tower_peers.reranked(retriever, find, K)
  assert len(calls) == 2
  frozen.search_request(retriever, models.BEST_FIRST, K)
  assert len(calls) > 2
  assert (rows_of(scan, histories) == wanted).mean() > 0.97
  found = np.concatenate([answer(history[None]) for history in histories])
  assert (found == wanted).mean() > 0.97
