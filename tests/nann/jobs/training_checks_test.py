import pathlib
import types
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nann.data_provider import dataset
from nann.jobs import training_checks
from nann.model.scorer import ScorerSpec, create
from nann.retrieval import metrics


def data_of(num_items: int) -> Any:
  """Returns what stands for a data set: items, and 500 validation targets."""
  nothing = np.zeros((500, 5), np.int64)
  held_out = dataset.HeldOut(
    nothing, np.ones(500, np.int64), np.zeros(500, object)
  )
  return types.SimpleNamespace(
    held_out=lambda split, targets: held_out,
    catalogue=types.SimpleNamespace(
      num_items=num_items,
      category_table=lambda: np.zeros(num_items + 1, np.int32),
    ),
  )


def test_too_many_items_are_not_validated_on_a_few_users(
  capsys: pytest.CaptureFixture[str],
) -> None:
  scorer: Any = None
  folder = pathlib.Path("unused")
  of = training_checks.Validation.of
  assert of(scorer, data_of(5_000), folder) is not None
  assert of(scorer, data_of(1_000_000), folder) is None
  assert "of 1,000,000 items all would be scored for 41" in (
    capsys.readouterr().out
  )


@pytest.mark.parametrize(
  ("recalls", "wanted"),
  [
    ([0.4, 0.6, 0.5, 0.5, 0.5, 0.4], 1.0),
    ([0.4, 0.4, 0.3, 0.1, 0.1, 0.1], 0.0),
    ([0.4, 0.5, 0.6, 0.7, 0.7, 0.8], 6.0),
  ],
)
def test_weight_with_the_best_recall_is_taken(
  recalls: list[float],
  wanted: float,
  tmp_path: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  held_out = dataset.HeldOut(
    np.ones((1, 2), np.int64), np.ones(1, np.int64), np.array([b"1"])
  )
  validation = training_checks.Validation(
    create("two_tower", ScorerSpec(2, 1, emb_dim=2)),
    np.array([0, 1, 1], np.int32),
    held_out,
    tmp_path,
  )
  weight = tf.Variable(5.0)
  of_weight = dict(zip(training_checks._WEIGHTS, recalls, strict=True))
  monkeypatch.setattr(
    validation,
    "_recall",
    lambda: metrics.Share(of_weight[float(weight.numpy())], 0.0, 1),
  )
  validation.choose(weight)
  assert float(weight.numpy()) == wanted
