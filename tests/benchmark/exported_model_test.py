"""Exported models answer in C++ as they do in Python."""

import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nann.model.scorer import Items
from tests.benchmark import answer_requests_test as program
from tests.nann.delivery import models
from tests.nann.delivery.models import Exported, histories, to_raw

pytestmark = pytest.mark.slow

Request = tuple[str, dict[str, np.ndarray]]


def comm_seq(model: Exported, users: np.ndarray) -> np.ndarray:
  """Returns [B, L * H] float16, the embeddings of histories."""
  items = Items(tf.constant(users), tf.constant(models.CATEGORIES[users]))
  embedding = model.serving.retriever.scorer.history_embedding(items)
  return embedding.numpy().astype(np.float16).reshape(len(users), -1)


def requests_to(model: Exported, ids: np.ndarray) -> list[Request]:
  """Returns requests to every signature, for one user and for several."""
  users = histories(5)
  raw = to_raw(users, ids)
  items = np.tile(ids[:7], (5, 1))
  found: list[Request] = [
    ("retrieve", {"history_item_ids": raw}),
    ("retrieve", {"history_item_ids": raw[:1], "k": np.array(3, np.int32)}),
    ("retrieve", {"history_item_ids": raw, "excluded_items": items}),
    ("retrieve", {"history_item_ids": raw[:, :0]}),
    ("score", {"history_item_ids": raw, "item_ids": items}),
  ]
  steps = model.serving.paper.num_steps
  level_topn = np.array([20] * steps + [9], np.int32)
  for number in (1, 5):
    found.append(
      (
        "serving_default",
        {
          "comm_seq": comm_seq(model, users[:number]),
          "level_topn": level_topn,
        },
      )
    )
  return found


def same(model: Exported, requests: list[Request], found: list[Any]) -> None:
  """Compares what C++ has answered with what Python answers."""
  assert len(found) == len(requests)
  for (signature, inputs), got in zip(requests, found, strict=True):
    wanted = model.ask(signature, **inputs)
    assert sorted(got) == sorted(wanted)
    for name, value in wanted.items():
      if value.dtype.kind == "f":
        np.testing.assert_allclose(got[name], value, atol=1e-5)
      else:
        np.testing.assert_array_equal(got[name], value)


IDS = {
  "integers": models.RAW_IDS,
  "texts": np.array([f"item {i}".encode() for i in models.RAW_IDS]),
}


@pytest.mark.parametrize("ids", IDS)
def test_version_folder_answers_in_cpp(
  tmp_path: pathlib.Path, ids: str
) -> None:
  model = Exported(tmp_path / "export", models.serving(ids=IDS[ids]))
  requests = requests_to(model, IDS[ids])
  recorded = program.record(tmp_path / "requests", requests)
  found = program.answers(program.OPS, model.version, recorded)
  same(model, requests, found)
  # From any working directory, and with the arrays where they are.
  of_graph = program.answers(
    program.OPS,
    f"--meta={model.target.exec_meta}",
    model.target.exec_graph,
    recorded,
  )
  same(model, requests, of_graph)


@pytest.mark.parametrize("ids", IDS)
def test_stock_export_needs_no_library(
  tmp_path: pathlib.Path, ids: str
) -> None:
  serving = models.serving(ids=IDS[ids], search_ops="stock")
  model = Exported(tmp_path / "export", serving, "stock")
  requests = requests_to(model, IDS[ids])
  recorded = program.record(tmp_path / "requests", requests)
  same(model, requests, program.answers(model.version, recorded))
  meta = f"--meta={model.target.exec_meta}"
  of_graph = program.answers(meta, model.target.exec_graph, recorded)
  same(model, requests, of_graph)


def test_keras_scorer_answers_in_cpp(tmp_path: pathlib.Path) -> None:
  name = "examples.keras_scorer:KerasScorer"
  model = Exported(tmp_path / "export", models.serving(name))
  requests = requests_to(model, models.RAW_IDS)
  recorded = program.record(tmp_path / "requests", requests)
  found = program.answers(program.OPS, model.version, recorded)
  same(model, requests, found)
