"""Where walks begin beside the history: items that many users are answered."""

import numpy as np


def frequent_answers(answers: np.ndarray, count: int) -> np.ndarray:
  """Returns int32 rows, ascending: those most often among some users' answers.

  A history leads to what is like it; what is liked by most users, whatever
  their history, lies elsewhere.

  Args:
    answers: [n, K] int32 rows, -1 where there are fewer.
    count: Rows wanted, at most.
  """
  rows, number = np.unique(answers[answers >= 0], return_counts=True)
  order = np.lexsort((rows, -number))[:count]
  return np.sort(rows[order]).astype(np.int32)
