"""When to walk the graph and when to score everything: what each will cost.

A walk costs its evaluations, which grow as the filter lets fewer items through:
it meets forbidden items on its way. A scan costs one evaluation for each item
that the filter lets through, cheaper ones, since it reads memory in order and
calls the scorer seldom.
"""

import dataclasses

# Evaluations of an untuned walk for each item that the beam keeps.
_EVALUATIONS_PER_EF = 3.0
# benchmark/search_filters.py measures both: how much an evaluation of a walk
# costs in units of one of a scan, and how the evaluations of a walk grow when a
# share s of the items is allowed (as s to the power of minus this).
WALK_COST = 2.0
FILTER_EXPONENT = 0.86


@dataclasses.dataclass(frozen=True)
class CostModel:
  """What a search will cost, in evaluations of a scan.

  Attributes:
    evaluations: Of a walk without a filter.
  """

  evaluations: float

  def walk(self, num_rows: int, selectivity: float) -> float:
    """Returns the cost of a walk.

    Args:
      num_rows: I.
      selectivity: Share of the rows that may be returned.
    """
    most = float(num_rows)
    if selectivity <= 0:
      return WALK_COST * most
    grown = self.evaluations * selectivity**-FILTER_EXPONENT
    return WALK_COST * min(grown, most)

  def scan(self, num_rows: int, selectivity: float) -> float:
    """Returns the cost of a scan of what the filter lets through."""
    return num_rows * selectivity

  def prefers_scan(self, num_rows: int, selectivity: float = 1.0) -> bool:
    """Returns whether the scan costs less."""
    return self.scan(num_rows, selectivity) <= self.walk(num_rows, selectivity)

  def largest_scan(self, num_rows: int) -> float:
    """Returns the largest selectivity at which the scan costs less."""
    if self.prefers_scan(num_rows):
      return 1.0
    # The cost of a scan grows with the selectivity, that of a walk falls.
    low, high = 0.0, 1.0
    for _ in range(50):
      middle = (low + high) / 2
      if self.prefers_scan(num_rows, middle):
        low = middle
      else:
        high = middle
    return low


def untuned(ef: int, k: int) -> CostModel:
  """Returns the model of a catalogue on which nothing has been measured."""
  return CostModel(_EVALUATIONS_PER_EF * max(ef, k))
