"""How like the real Taobao log the synthetic one is."""

import numpy as np

from nann.data_provider.synthetic import (
  RECENT,
  SyntheticLog,
  generate_blocks,
)

# Of the head of the real UserBehavior file: 100,001 rows, 983 users.
TAOBAO_HEAD = {
  "sequence length, mean": 101.7,
  "sequence length, median": 74.0,
  "sequence length, p90": 220.0,
  "sequence length, max": 539.0,
  "gap between events, median s": 75.0,
  "P(item in last 50)": 0.225,
  "P(category in last 50)": 0.755,
  "P(category = the previous one)": 0.412,
  "distinct items / length": 0.79,
  "distinct categories per user": 24.4,
  "events of the top 1 % of categories": 0.44,
  "events of the top 10 % of categories": 0.78,
}


def compare_with_taobao(log: SyntheticLog) -> dict[str, tuple[float, float]]:
  """Returns statistic -> (this log, the real head), from the first block."""
  block = next(generate_blocks(log))
  lengths = block.lengths
  begins = np.cumsum(lengths) - lengths
  # A sample of users over the whole range of lengths.
  sample = np.arange(0, len(lengths), max(1, len(lengths) // 1000))
  gaps, distinct, num_categories = [], [], []
  hits: dict[str, list[np.ndarray]] = {
    name: [] for name in ("item", "category", "previous")
  }
  for user in sample:
    events = slice(begins[user], begins[user] + lengths[user])
    items, categories = block.item_ids[events], block.category_ids[events]
    gaps.append(np.diff(block.timestamps[events]))
    distinct.append(len(np.unique(items)))
    num_categories.append(len(np.unique(categories)))
    hits["item"].append(_in_last(items, RECENT))
    hits["category"].append(_in_last(categories, RECENT))
    hits["previous"].append(_in_last(categories, 1))
  events_of = np.sort(np.bincount(block.category_ids))[::-1]
  top = [max(1, log.num_categories * share // 100) for share in (1, 10)]
  rates = {name: np.concatenate(values).mean() for name, values in hits.items()}
  measured = [
    lengths.mean(),
    np.median(lengths),
    np.percentile(lengths, 90),
    lengths.max(),
    np.median(np.concatenate(gaps)),
    rates["item"],
    rates["category"],
    rates["previous"],
    sum(distinct) / lengths[sample].sum(),
    np.mean(num_categories),
    float(events_of[: top[0]].sum()) / float(events_of.sum()),
    float(events_of[: top[1]].sum()) / float(events_of.sum()),
  ]
  return {
    name: (float(value), real)
    for (name, real), value in zip(TAOBAO_HEAD.items(), measured, strict=True)
  }


def _in_last(values: np.ndarray, window: int) -> np.ndarray:
  """Returns for each element but the first whether it recurs in the window."""
  last_place: dict[int, int] = {}
  found = np.zeros(len(values), dtype=bool)
  for place, value in enumerate(values.tolist()):
    found[place] = place - last_place.get(value, -(10**9)) <= window
    last_place[value] = place
  return found[1:]
