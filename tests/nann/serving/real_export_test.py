"""A real export, served: same user, same answer over gRPC and over REST."""

from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from nann.serving.client import Client
from tests.nann.delivery import models, retrieve_test, serving_default_test
from tests.nann.delivery.models import Exported, histories, to_raw
from tests.nann.serving import fuzz_test
from tests.nann.serving.conftest import TIMEOUT_S, Running, running_server

LEVEL_TOPN = serving_default_test.LEVEL_TOPN


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
  return Exported(tmp_path_factory.mktemp("export"), models.serving())


@pytest.fixture(scope="module")
def running(exported: Exported) -> Iterator[Running]:
  with running_server(exported.target.versions) as found:
    yield found


@pytest.fixture(scope="module")
def client(running: Running) -> Iterator[Client]:
  target = f"127.0.0.1:{running.server.port}"
  with Client(target, timeout_s=TIMEOUT_S) as client:
    yield client


@pytest.mark.parametrize("number", [1, 5])
def test_grpc_answers_as_the_retriever(
  exported: Exported, client: Client, number: int
) -> None:
  users = histories(number)
  found = client.predict("retrieve", {"history_item_ids": to_raw(users)})
  wanted = retrieve_test.expected(exported, users)
  retrieve_test.same(exported, dict(found.outputs), wanted)


def test_rest_answers_as_the_retriever(
  exported: Exported, running: Running
) -> None:
  users = histories(5)
  response = running.rest.post(
    "/v1/models/nann:predict",
    json={
      "signature_name": "retrieve",
      "inputs": {"history_item_ids": to_raw(users).tolist()},
    },
  )
  outputs = {
    name: np.array(value) for name, value in response.json()["outputs"].items()
  }
  wanted = retrieve_test.expected(exported, users)
  retrieve_test.same(exported, outputs, wanted)


def test_documented_signature_answers_as_the_retriever(
  exported: Exported, running: Running, client: Client
) -> None:
  comm_seq = serving_default_test.embedded(exported, histories(5))
  wanted = serving_default_test.expected(exported, comm_seq, LEVEL_TOPN)
  found = client.top_k(comm_seq, LEVEL_TOPN)
  np.testing.assert_array_equal(found, wanted)
  rows = [
    {"comm_seq": row, "level_topn": LEVEL_TOPN.tolist()}
    for row in comm_seq.astype(np.float64).tolist()
  ]
  response = running.rest.post(
    "/v1/models/nann:predict", json={"instances": rows}
  )
  assert response.json()["predictions"] == wanted.tolist()


def test_filters_and_k_are_served(exported: Exported, client: Client) -> None:
  users = to_raw(histories(2))
  allowed = np.tile(models.RAW_IDS[:40], (2, 1))
  found = client.retrieve(users, k=5, allowed_items=allowed)
  assert found.item_ids.shape == (2, 5)
  assert np.isin(found.item_ids, [*allowed[0], 0]).all()
  excluded = found.item_ids[:, :2]
  fewer = client.retrieve(
    users, k=5, allowed_items=allowed, excluded_items=excluded
  )
  for user in range(2):
    assert not np.isin(fewer.item_ids[user], excluded[user]).any()
    assert np.isin(found.item_ids[user, 2:], fewer.item_ids[user]).all()


def test_scores_are_those_of_the_answer(client: Client) -> None:
  users = to_raw(histories(3))
  found = client.retrieve(users)
  scores = client.score(users, found.item_ids)
  np.testing.assert_allclose(scores, found.scores, atol=1e-5)


@pytest.mark.parametrize(
  ("value", "message"),
  [(np.nan, "nan"), (np.inf, "nan")],
)
def test_what_is_no_number_gets_a_sentence(
  exported: Exported, running: Running, value: float, message: str
) -> None:
  width = serving_default_test.embedded(exported, histories(1)).shape[1]
  comm_seq = np.full((1, width), value, np.float16)
  with pytest.raises(grpc.RpcError) as caught:
    running.predict("", comm_seq=comm_seq, level_topn=LEVEL_TOPN)
  assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
  assert message in caught.value.details()


def test_malformed_requests_get_a_proper_status(running: Running) -> None:
  fuzz_test.send_malformed(running, 100, seed=3)


@pytest.mark.soak
def test_ten_thousand_malformed_requests_leave_memory_flat(
  running: Running,
) -> None:
  fuzz_test.leave_memory_flat(running)
