"""Synthetic behavior that looks like Taobao's, of any size.

The embedded default data. Users have a few topics and a taste; their current
interests are categories that drift; they return to items, stay in a category,
and prefer their taste's kind of item within one. The constants are set so that
the statistics below come out as in the head of the real UserBehavior file
(100,001 rows, 983 users); `synthetic_statistics` says how close they are.

Users are generated in blocks, each from its own seed: memory does not grow
with the log.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from nann import files

_BLOCK_USERS = 16384
_WINDOW_BEGIN = 1511539200  # 2017-11-25 00:00, UTC+8.
_WINDOW_SECONDS = 9 * 24 * 3600
_BEHAVIORS = np.array(["pv", "cart", "fav", "buy"])
_BEHAVIOR_SHARES = np.array([0.896, 0.055, 0.029, 0.020])

_MEDIAN_LENGTH, _LENGTH_SIGMA, _MIN_LENGTH, _MAX_LENGTH = 74, 0.83, 3, 540
_NUM_TOPICS = 40
_TOPICS_PER_USER = 3
_NUM_TASTES = 128
_NUM_KINDS = 8
_NUM_INTERESTS = 6
RECENT = 50

_P_REPEAT = 0.175
_P_SAME_CATEGORY = 0.35
_P_INTEREST = 0.72  # Of the rest; else a category at large.
_P_DRIFT = 0.095
_P_TASTE = 0.75
_P_NEIGHBOR = 0.45
_P_NEW_SESSION = 0.10


@dataclasses.dataclass(frozen=True)
class SyntheticLog:
  """What to generate."""

  num_users: int
  num_items: int
  num_categories: int
  seed: int


@dataclasses.dataclass(frozen=True)
class Block:
  """Users' events, one after the other.

  Attributes:
    lengths: [U] events of each user.
    item_ids, category_ids, timestamps: [E] int64.
  """

  first_user: int
  lengths: np.ndarray
  item_ids: np.ndarray
  category_ids: np.ndarray
  timestamps: np.ndarray


def _power_law(
  uniform: np.ndarray, offset: float, exponent: float
) -> np.ndarray:
  """Maps uniform numbers to [0, 1) with density ~ (x + offset)^-exponent."""
  power = 1.0 - exponent
  low, high = offset**power, (1.0 + offset) ** power
  return (low + uniform * (high - low)) ** (1.0 / power) - offset


def _hash(first: np.ndarray, second: np.ndarray) -> np.ndarray:
  """Mixes two integer arrays into one of pseudo-random int64 >= 0."""
  mixed = first.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
  mixed ^= second.astype(np.uint64) + np.uint64(0xBF58476D1CE4E5B9)
  mixed *= np.uint64(0x94D049BB133111EB)
  mixed ^= mixed >> np.uint64(29)
  mixed *= np.uint64(0xBF58476D1CE4E5B9)
  return (mixed >> np.uint64(33)).astype(np.int64)


class _World:
  """Items and categories, and how popular they are."""

  def __init__(self, log: SyntheticLog) -> None:
    self.num_categories = log.num_categories
    rng = np.random.default_rng([log.seed, 0])
    # Popular categories have more items, but not in proportion.
    share = np.diff(
      _category_cdf(np.arange(log.num_categories + 1) / log.num_categories)
    )
    weight = share**0.75
    ends = np.round(np.cumsum(weight) / weight.sum() * log.num_items)
    # Every category has an item.
    ends = np.maximum(ends, np.arange(1, log.num_categories + 1))
    ends = ends.astype(np.int64)
    spare = log.num_items - log.num_categories
    ends = np.minimum(ends, np.arange(1, log.num_categories + 1) + spare)
    self.begins = np.concatenate([[0], ends[:-1]])
    self.sizes = ends - self.begins
    self.topics = rng.integers(_NUM_TOPICS, size=log.num_categories)
    # Raw ids tell nothing of popularity or category.
    self.raw_item_ids = rng.permutation(log.num_items) + 1
    self.raw_category_ids = rng.permutation(log.num_categories) + 1

  def any_category(self, uniform: np.ndarray) -> np.ndarray:
    fraction = _power_law(uniform, *_CATEGORY_LAW)
    return (fraction * self.num_categories).astype(np.int64)


# Offset and exponent for which the top 1 % of the categories hold 44 % of the
# draws and the top 10 % hold 78 %.
_CATEGORY_LAW = (0.0018, 1.22)
_ITEM_LAW = (0.02, 1.3)


def _category_cdf(fraction: np.ndarray) -> np.ndarray:
  offset, exponent = _CATEGORY_LAW
  power = 1.0 - exponent
  low, high = offset**power, (1.0 + offset) ** power
  cdf: np.ndarray = ((fraction + offset) ** power - low) / (high - low)
  return cdf


def _generate_block(
  world: _World, log: SyntheticLog, number: int, num_users: int
) -> Block:
  """Walks all users of a block forward in time together."""
  rng = np.random.default_rng([log.seed, 1, number])
  lengths = np.exp(rng.normal(np.log(_MEDIAN_LENGTH), _LENGTH_SIGMA, num_users))
  lengths = np.clip(np.round(lengths), _MIN_LENGTH, _MAX_LENGTH).astype(int)
  # Longest first: the users still active at a step are a prefix.
  lengths = -np.sort(-lengths)
  topics = rng.integers(_NUM_TOPICS, size=(num_users, _TOPICS_PER_USER))
  tastes = rng.integers(_NUM_TASTES, size=num_users)

  def interesting_category(users: np.ndarray) -> np.ndarray:
    """A category by popularity, if possible of one of the user's topics."""
    chosen = world.any_category(rng.random(len(users)))
    for _ in range(12):
      fits = (world.topics[chosen][:, None] == topics[users]).any(axis=1)
      again = world.any_category(rng.random(len(users)))
      chosen = np.where(fits, chosen, again)
    return chosen

  everyone = np.arange(num_users)
  interests = np.stack(
    [interesting_category(everyone) for _ in range(_NUM_INTERESTS)], axis=1
  )
  items = np.zeros((num_users, lengths[0]), dtype=np.int64)
  categories = np.zeros_like(items)
  for step in range(lengths[0]):
    active = int(np.searchsorted(-lengths, -step))  # lengths > step
    users = everyone[:active]
    drifting = users[rng.random(active) < _P_DRIFT]
    slots = rng.integers(_NUM_INTERESTS, size=len(drifting))
    interests[drifting, slots] = interesting_category(drifting)
    # Early interests weigh more.
    slot = (rng.random(active) ** 1.7 * _NUM_INTERESTS).astype(int)
    category = np.where(
      rng.random(active) < _P_INTEREST,
      interests[users, slot],
      world.any_category(rng.random(active)),
    )
    previous = max(step - 1, 0)
    same = (rng.random(active) < _P_SAME_CATEGORY) & (step > 0)
    category = np.where(same, categories[users, previous], category)
    item = _new_item(
      world, rng, category, tastes[users], items[users, previous], same
    )
    back = 1 + (rng.random(active) ** 2.0 * min(step, RECENT)).astype(int)
    repeat = (rng.random(active) < _P_REPEAT) & (step > 0)
    back = np.minimum(back, max(step, 1))
    item = np.where(repeat, items[users, step - back], item)
    category = np.where(repeat, categories[users, step - back], category)
    items[:active, step] = item
    categories[:active, step] = category

  inside = np.arange(lengths[0]) < lengths[:, None]
  return Block(
    first_user=number * _BLOCK_USERS,
    lengths=lengths,
    item_ids=world.raw_item_ids[items[inside]],
    category_ids=world.raw_category_ids[categories[inside]],
    timestamps=_timestamps(rng, lengths),
  )


def _new_item(
  world: _World,
  rng: np.random.Generator,
  category: np.ndarray,
  taste: np.ndarray,
  previous_item: np.ndarray,
  same_category: np.ndarray,
) -> np.ndarray:
  """Draws an item of the category: by taste, or near the previous item."""
  number = len(category)
  size, begin = world.sizes[category], world.begins[category]
  num_kinds = np.clip(size // 4, 1, _NUM_KINDS)
  liked = _hash(taste, category) % num_kinds
  other = (rng.random(number) * num_kinds).astype(np.int64)
  kind = np.where(rng.random(number) < _P_TASTE, liked, other)
  rank = _power_law(rng.random(number), *_ITEM_LAW) * (size // num_kinds)
  item = begin + rank.astype(np.int64) * num_kinds + kind
  # Items that are alike follow each other: same kind, next popularity ranks.
  shift = (1 + rng.integers(3, size=number)) * num_kinds
  neighbor = begin + (previous_item - begin + shift) % size
  near = same_category & (rng.random(number) < _P_NEIGHBOR)
  return np.minimum(np.where(near, neighbor, item), begin + size - 1)


def _timestamps(rng: np.random.Generator, lengths: np.ndarray) -> np.ndarray:
  """Draws sessions inside the nine days; times grow along a sequence."""
  total = int(lengths.sum())
  begins = np.cumsum(lengths) - lengths
  gaps = np.exp(rng.normal(np.log(78.0), 1.3, total))
  new_session = rng.random(total) < _P_NEW_SESSION
  gaps[new_session] = rng.exponential(40_000.0, int(new_session.sum()))
  gaps[begins] = 0.0
  elapsed = np.cumsum(gaps)
  elapsed -= np.repeat(elapsed[begins], lengths)
  span = np.maximum(elapsed[begins + lengths - 1], 1.0)
  scale = np.minimum(1.0, 0.999 * _WINDOW_SECONDS / span)
  start = rng.random(len(lengths)) * (0.999 * _WINDOW_SECONDS - span * scale)
  times = np.repeat(start, lengths) + elapsed * np.repeat(scale, lengths)
  return _WINDOW_BEGIN + times.astype(np.int64)


def generate_blocks(log: SyntheticLog) -> Iterator[Block]:
  """Yields the users of a log, a block at a time."""
  world = _World(log)
  for number in range(-(-log.num_users // _BLOCK_USERS)):
    num_users = min(_BLOCK_USERS, log.num_users - number * _BLOCK_USERS)
    yield _generate_block(world, log, number, num_users)


def write_log(
  log: SyntheticLog,
  path: pathlib.Path,
  progress: Callable[[int, int], None] = lambda users, rows: None,
) -> int:
  """Writes a csv in the UserBehavior schema, whole or not at all.

  Args:
    log: What to generate.
    path: The file; a name that ends in .gz is compressed.
    progress: Called after each block with the users and rows so far.

  Returns:
    The number of rows.
  """
  num_rows = num_users = 0
  options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
  rng = np.random.default_rng([log.seed, 2])
  with (
    files.written_whole(path) as temporary,
    pa.output_stream(str(temporary)) as stream,
  ):
    for block in generate_blocks(log):
      kinds = rng.choice(
        len(_BEHAVIORS), len(block.item_ids), p=_BEHAVIOR_SHARES
      )
      # A block's users stand sorted by length; their ids must not tell it.
      users = block.first_user + 1 + rng.permutation(len(block.lengths))
      table = pa.table(
        {
          "user_id": np.repeat(users, block.lengths),
          "item_id": block.item_ids,
          "category_id": block.category_ids,
          "behavior": pa.array(_BEHAVIORS).take(pa.array(kinds)),
          "timestamp": block.timestamps,
        }
      )
      pa_csv.write_csv(table, stream, options)
      num_rows += table.num_rows
      num_users += len(users)
      progress(num_users, num_rows)
  return num_rows
