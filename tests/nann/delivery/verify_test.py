import pathlib

import numpy as np
import pytest

from nann.delivery import verify
from nann.delivery.verify import Case

SCORES = np.array([[9, 8, 8, 5, -np.inf]], np.float32)
ROWS = np.array([[4, 2, 3, 7, 0]])


def compare(case: Case, **outputs: np.ndarray) -> None:
  verify._compare("it", [case], lambda signature: lambda inputs: outputs)


@pytest.fixture
def case() -> Case:
  return Case("retrieve", {}, {"item_ids": ROWS, "scores": SCORES}, SCORES)


def test_equal_answers_are_equal(case: Case) -> None:
  compare(case, item_ids=ROWS, scores=SCORES)
  compare(case, item_ids=ROWS, scores=SCORES * np.float32(1 + 1e-6))


def test_equal_scores_may_change_places(case: Case) -> None:
  compare(case, item_ids=ROWS[:, [0, 2, 1, 3, 4]], scores=SCORES)


@pytest.mark.parametrize("order", [[1, 0, 2, 3, 4], [0, 1, 2, 4, 3]])
def test_other_items_are_a_fault(case: Case, order: list[int]) -> None:
  with pytest.raises(ValueError, match="request 0 of retrieve with other item"):
    compare(case, item_ids=ROWS[:, order], scores=SCORES)


def test_other_scores_are_a_fault(case: Case) -> None:
  scores = SCORES.copy()
  scores[0, 3] += 1e-3
  with pytest.raises(ValueError, match=r"other scores: 5.00\d* at \(0, 3\)"):
    compare(case, item_ids=ROWS, scores=scores)


def test_other_shape_is_a_fault(case: Case) -> None:
  with pytest.raises(ValueError, match=r"shape \(1, 4\), wanted \(1, 5\)"):
    compare(case, item_ids=ROWS[:, :4], scores=SCORES)


def test_cases_are_read_as_they_were_written(
  case: Case, tmp_path: pathlib.Path
) -> None:
  plain = Case("score", {"item_ids": ROWS, "text": np.array([b"a"])}, {})
  verify.save_cases(tmp_path / "cases.npz", [case, plain])
  found = verify.load_cases(tmp_path / "cases.npz")
  assert [x.signature for x in found] == ["retrieve", "score"]
  np.testing.assert_array_equal(found[0].scores, SCORES)
  np.testing.assert_array_equal(found[1].inputs["text"], [b"a"])
  assert found[1].scores is None
