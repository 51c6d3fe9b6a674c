"""Decides which users are held out. Pure NumPy: no files, no engine."""

import dataclasses

import numpy as np

TRAIN, VALIDATE, TEST = 0, 1, 2
# More than this share of the eligible users is never held out for one split.
_MAX_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class Splits:
  """The split of every user.

  Attributes:
    part: [U] int8: TRAIN, VALIDATE or TEST.
    place: [U] int32: the user's place in the records, all training users
      first, in random order, then validation, then test users.
    notes: Sentences on what differs from what was asked for.
  """

  part: np.ndarray
  place: np.ndarray
  notes: tuple[str, ...]

  def count(self, part: int) -> int:
    return int((self.part == part).sum())


def choose_splits(
  user_ids: np.ndarray,
  num_events: np.ndarray,
  test_min_length: int,
  num_test_users: int,
  num_validation_users: int,
  seed: int,
  given_test_users: np.ndarray | None = None,
) -> Splits:
  """Draws test and validation users, or takes the given test users.

  Args:
    user_ids: [U] raw user ids, sorted: the draw depends on nothing else.
    num_events: [U] events of each user.
    test_min_length: Only users with more events are eligible.
    num_test_users: Users to draw for testing.
    num_validation_users: Users to draw for validation.
    seed: Seed of the draw.
    given_test_users: Raw ids to take as test users instead.

  Raises:
    ValueError: None of the given test users can be tested.
  """
  rng = np.random.default_rng([seed, 0])
  notes: list[str] = []
  part = np.full(len(user_ids), TRAIN, dtype=np.int8)
  eligible = num_events > test_min_length
  most = int(_MAX_SHARE * eligible.sum())

  def draw(wanted: int, name: str) -> np.ndarray:
    candidates = np.flatnonzero(eligible & (part == TRAIN))
    number = min(wanted, most)
    if number < wanted:
      notes.append(
        f"{number:,} {name} users instead of {wanted:,}: a tenth of the"
        f" {int(eligible.sum()):,} users with more than {test_min_length}"
        " events"
      )
    return rng.choice(candidates, number, replace=False)

  if given_test_users is None:
    part[draw(num_test_users, "test")] = TEST
  else:
    given = np.isin(user_ids, given_test_users)
    part[given & eligible] = TEST
    found = int((part == TEST).sum())
    if not found:
      raise ValueError(
        f"none of the {len(given_test_users):,} given test users has more than"
        f" {test_min_length} events in the log; check the ids in --test-users"
      )
    if found < len(given_test_users):
      notes.append(
        f"{found:,} of {len(given_test_users):,} given test users have more"
        f" than {test_min_length} events; the others are left out"
      )
    # A given user who cannot be tested stays out of training too.
    part[given & ~eligible] = -1
  part[draw(num_validation_users, "validation")] = VALIDATE

  place = np.full(len(user_ids), -1, dtype=np.int32)
  begin = 0
  for split in (TRAIN, VALIDATE, TEST):
    members = rng.permutation(np.flatnonzero(part == split))
    place[members] = np.arange(begin, begin + len(members))
    begin += len(members)
  return Splits(part, place, tuple(notes))


def target_position(num_events: np.ndarray, test_min_length: int) -> np.ndarray:
  """Returns where in a held-out user's events the target stands (0-based).

  Source: the original's conversion, test_min_length + floor((n -
  test_min_length) / 2) of n time-sorted events.
  """
  return test_min_length + (num_events - test_min_length) // 2
