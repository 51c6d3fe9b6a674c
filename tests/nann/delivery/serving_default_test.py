"""The documented signature: comm_seq and level_topn give top_k."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from nann.model.scorer import Items
from nann.retrieval.tensors import PolicyTensors
from tests.nann.delivery import models
from tests.nann.delivery.models import Exported, histories

LEVEL_TOPN = np.array([20, 30, 30, 30, 12], np.int32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
  return Exported(tmp_path_factory.mktemp("export"), models.serving())


def embedded(model: Exported, users: np.ndarray) -> np.ndarray:
  """Returns [B, L * H] float16."""
  items = Items(tf.constant(users), tf.constant(models.CATEGORIES[users]))
  embedding = model.serving.retriever.scorer.history_embedding(items).numpy()
  return embedding.astype(np.float16).reshape(len(users), -1)


def expected(
  model: Exported, comm_seq: np.ndarray, level_topn: np.ndarray
) -> np.ndarray:
  """Answers in this process."""
  retriever = model.serving.retriever
  shape = (len(comm_seq), -1, model.serving.history_width)
  embedding = comm_seq.astype(np.float32).reshape(shape)
  found = retriever.found_by_levels(
    retriever.parts.user_state(None, tf.constant(embedding)),
    PolicyTensors(
      tf.constant(level_topn[-2::-1]),
      tf.constant(model.serving.paper.hops),
      None,
    ),
    int(level_topn[-1]),
  )
  return models.names_of(model.serving, found.rows.numpy())


@pytest.mark.parametrize("number", [1, 5])
@pytest.mark.parametrize(
  "level_topn", [[20, 30, 30, 30, 12], [5, 6, 40, 9, 12], [9, 9, 9, 9, 900]]
)
def test_embeddings_give_the_retriever_s_answer(
  exported: Exported, number: int, level_topn: list[int]
) -> None:
  comm_seq = embedded(exported, histories(number))
  widths = np.array(level_topn, np.int32)
  got = exported.ask("serving_default", comm_seq=comm_seq, level_topn=widths)
  wanted = expected(exported, comm_seq, widths)
  assert got["top_k"].dtype == np.int64
  np.testing.assert_array_equal(got["top_k"], wanted)


def test_history_of_zeros_gets_an_answer(exported: Exported) -> None:
  zeros = np.zeros((1, 160), np.float16)
  got = exported.ask("serving_default", comm_seq=zeros, level_topn=LEVEL_TOPN)
  assert got["top_k"].shape == (1, 12)
  assert (got["top_k"] > 0).all()
  assert len(np.unique(got["top_k"])) == 12


def test_zeros_are_padding(exported: Exported) -> None:
  users = histories(2)
  users[:, 6:] = 0
  # The same history with padding in its middle.
  apart = users.copy()
  apart[:, 3:6], apart[:, 7:] = 0, users[:, 3:6]
  got, other = (
    exported.ask(
      "serving_default",
      comm_seq=embedded(exported, some),
      level_topn=LEVEL_TOPN,
    )
    for some in (users, apart)
  )
  np.testing.assert_array_equal(got["top_k"], other["top_k"])


@pytest.mark.parametrize(
  ("name", "value"),
  [
    ("comm_seq", np.zeros((1, 161), np.float16)),
    ("level_topn", LEVEL_TOPN[1:]),
  ],
)
def test_inputs_of_another_shape_are_refused(
  exported: Exported, name: str, value: np.ndarray
) -> None:
  inputs = {
    "comm_seq": np.zeros((1, 160), np.float16),
    "level_topn": LEVEL_TOPN,
    name: value,
  }
  with pytest.raises(ValueError, match="Cannot feed value of shape"):
    exported.ask("serving_default", **inputs)


@pytest.mark.parametrize("place", [0, 4])
def test_width_of_zero_is_refused(exported: Exported, place: int) -> None:
  widths = LEVEL_TOPN.copy()
  widths[place] = 0
  with pytest.raises(tf.errors.InvalidArgumentError, match="is 0, wanted"):
    exported.ask(
      "serving_default",
      comm_seq=np.zeros((1, 160), np.float16),
      level_topn=widths,
    )


def test_scorer_that_reads_ids_has_no_such_signature(
  tmp_path: pathlib.Path,
) -> None:
  model = models.serving(name=f"{models.__name__}:IdReader")
  exported = Exported(tmp_path, model)
  raw = models.to_raw(histories(2))
  got = exported.ask("serving_default", history_item_ids=raw)
  wanted = exported.ask("retrieve", history_item_ids=raw)
  np.testing.assert_array_equal(got["item_ids"], wanted["item_ids"])


def test_same_answer_in_stock_ops(
  exported: Exported, tmp_path: pathlib.Path
) -> None:
  stock = Exported(tmp_path, models.serving(search_ops="stock"), "stock")
  comm_seq = embedded(exported, histories(3))
  answers = [
    model.ask("serving_default", comm_seq=comm_seq, level_topn=LEVEL_TOPN)
    for model in (stock, exported)
  ]
  np.testing.assert_array_equal(answers[0]["top_k"], answers[1]["top_k"])
