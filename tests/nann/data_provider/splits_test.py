import numpy as np
import pytest

from nann.data_provider import splits


def choose(num_users: int = 1000, **changed: object) -> splits.Splits:
  arguments: dict = {
    "user_ids": np.arange(num_users),
    "num_events": np.full(num_users, 20),
    "test_min_length": 7,
    "num_test_users": 50,
    "num_validation_users": 30,
    "seed": 0,
  }
  return splits.choose_splits(**{**arguments, **changed})


def test_every_user_has_one_place() -> None:
  chosen = choose()
  assert sorted(chosen.place) == list(range(1000))
  assert chosen.count(splits.TEST) == 50
  assert chosen.count(splits.VALIDATE) == 30
  order = chosen.part[np.argsort(chosen.place)]
  assert list(np.unique(order)) == sorted(np.unique(order))
  assert (np.diff(order) >= 0).all()


def test_seed_decides_and_nothing_else() -> None:
  assert (choose().place == choose().place).all()
  assert (choose().part != choose(seed=1).part).any()


def test_short_users_are_trained_on_but_never_held_out() -> None:
  num_events = np.where(np.arange(1000) < 500, 7, 8)
  chosen = choose(num_events=num_events)
  assert (chosen.part[:500] == splits.TRAIN).all()


def test_too_few_users_shrink_the_splits_and_say_so() -> None:
  chosen = choose(num_users=40)
  assert chosen.count(splits.TEST) == 4
  assert chosen.count(splits.VALIDATE) == 4
  assert len(chosen.notes) == 2
  assert "4 test users instead of 50" in chosen.notes[0]


def test_given_users_are_taken_and_the_rest_are_reported() -> None:
  num_events = np.full(1000, 20)
  num_events[5] = 3
  chosen = choose(
    num_events=num_events, given_test_users=np.array([3, 4, 5, 7777])
  )
  assert list(np.flatnonzero(chosen.part == splits.TEST)) == [3, 4]
  assert "2 of 4 given test users" in chosen.notes[0]
  # A given user who is too short is kept out of training all the same.
  assert chosen.place[5] == -1


def test_given_users_that_are_not_there_are_refused() -> None:
  with pytest.raises(ValueError, match="none of the 1 given test users"):
    choose(given_test_users=np.array([5000]))


@pytest.mark.parametrize(
  ("num_events", "position"), [(8, 7), (9, 8), (10, 8), (11, 9), (107, 57)]
)
def test_target_stands_in_the_middle_of_the_rest(
  num_events: int, position: int
) -> None:
  got = splits.target_position(np.array([num_events]), 7)
  assert got[0] == position == 7 + (num_events - 7) // 2
