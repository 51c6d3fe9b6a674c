"""What watches a training run: its time budget, and validation users."""

import pathlib
import time

import numpy as np
import tensorflow as tf
from typing_extensions import Self

from nann import console
from nann.data_provider import dataset
from nann.model.scorer import Scorer
from nann.retrieval import brute_force, item_embedding, metrics
from nann.retrieval import result as results
from nann.retrieval.items import ItemArrays
from nann.retrieval.retriever import Retriever

_K = 200
# Several targets of a user: a choice between weights wants small errors more
# than independent users.
_TARGETS_PER_USER = 3
_MAX_PAIRS = 40_000_000
_MAX_TARGETS = 2_000
# Equal recall: the smallest.
_WEIGHTS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0)
# With fewer, which weights are best is chance.
_FEWEST_TARGETS = 100
# A first estimate wants some steps after those that trace and warm up.
_SKIPPED_STEPS, _FIRST_SECONDS = 3, 5.0


class TimeBudget:
  """Fits the number of steps to the minutes that are left.

  Attributes:
    seconds: What the steps and validations took so far, over all runs.
  """

  def __init__(self, budget_s: float, num_steps: tf.Variable) -> None:
    """Takes seconds, 0 for no limit, and the number to change."""
    self._budget_s, self._num_steps = budget_s, num_steps
    self.seconds = tf.Variable(0.0, trainable=False, dtype=tf.float64)
    self._last = time.monotonic()
    self._steps, self._steps_s = 0, 0.0
    self._most_steps = int(num_steps.numpy())

  def begin(self) -> None:
    """Starts the clock."""
    self._last = time.monotonic()

  def after_step(self, step: int) -> None:
    """Counts a step, and changes the number of steps where that helps."""
    elapsed = self._tick()
    self._steps += 1
    if self._steps > _SKIPPED_STEPS:
      self._steps_s += elapsed
    if not self._budget_s or self._steps_s < _FIRST_SECONDS:
      return
    per_step_s = self._steps_s / (self._steps - _SKIPPED_STEPS)
    left = self._budget_s - float(self.seconds.numpy())
    planned = step + max(int(left / per_step_s), 0)
    self._num_steps.assign(max(min(planned, self._most_steps), step))

  def after_validation(self) -> None:
    """Counts what a validation took."""
    self._tick()

  def _tick(self) -> float:
    now = time.monotonic()
    elapsed, self._last = now - self._last, now
    self.seconds.assign_add(elapsed)
    return elapsed


class Validation:
  """Measures recall on validation users and keeps the best weights.

  Attributes:
    best: Scalar float64, the best recall so far.
    state: What a checkpoint of the run holds of it.
  """

  def __init__(
    self,
    scorer: Scorer,
    category_table: np.ndarray,
    held_out: dataset.HeldOut,
    folder: pathlib.Path,
  ) -> None:
    """Takes what to measure with.

    Args:
      scorer: What is trained.
      category_table: [I + 1] int32, category by item id.
      held_out: Histories and targets of validation users.
      folder: Where the best weights are kept.
    """
    self._scorer, self._folder = scorer, folder
    self._category_table = category_table
    self._held_out = held_out
    self.best = tf.Variable(-1.0, trainable=False, dtype=tf.float64)
    self._since_best = tf.Variable(0, trainable=False, dtype=tf.int64)
    # What a resumed run must know.
    self.state = tf.train.Checkpoint(
      best=self.best, since_best=self._since_best
    )

  @classmethod
  def of(
    cls, scorer: Scorer, data: dataset.PreparedData, folder: pathlib.Path
  ) -> Self | None:
    """Reads the validation users of a data set.

    Returns:
      None where it has none, or has so many items that scoring all of them for
      enough users would take longer than the training.
    """
    most = min(_MAX_TARGETS, _MAX_PAIRS // data.catalogue.num_items + 1)
    if most < _FEWEST_TARGETS:
      console.warn(
        f"no validation: of {data.catalogue.num_items:,} items all would be"
        f" scored for {most:,} targets only, too few to compare weights by"
      )
      return None
    try:
      held_out = data.held_out("validate", _TARGETS_PER_USER)
    except FileNotFoundError:
      return None
    table = data.catalogue.category_table()
    if not len(held_out):
      return None
    return cls(scorer, table, held_out.sample(most, seed=0), folder)

  @property
  def since_best(self) -> int:
    """Validations since the best one."""
    return int(self._since_best.numpy())

  def measure(self, step: int) -> float:
    """Returns recall@200 now; saves the weights if it is the best so far."""
    found = self._recall()
    is_best = found.mean > float(self.best.numpy())
    console.say(
      f"step {step:,}: recall@{_K} on {found.count:,} validation targets"
      f" {found}" + (", the best" if is_best else "")
    )
    self._since_best.assign_add(1)
    if is_best:
      self.best.assign(found.mean)
      self._since_best.assign(0)
      tf.train.Checkpoint(scorer=self._scorer).write(str(self._path))
    return found.mean

  def take_best(self) -> None:
    """Gives the scorer the best weights back."""
    if self.since_best and self._path.with_suffix(".index").exists():
      tf.train.Checkpoint(scorer=self._scorer).read(str(self._path))
      console.say("the best weights on validation users are kept")

  def choose(self, weight: tf.Variable) -> None:
    """Gives a weight of the scorer the value with the best recall."""
    found = {}
    for value in _WEIGHTS:
      weight.assign(value)
      found[value] = self._recall().mean
    best = max(found, key=lambda value: found[value])
    weight.assign(best)
    console.say(
      f"weight of neighbors {best:g}: recall@{_K} on validation targets"
      f" {found[best]:.4f}, without {found[_WEIGHTS[0]]:.4f}"
    )

  @property
  def _path(self) -> pathlib.Path:
    return self._folder / "best"

  def _recall(self) -> metrics.Share:
    table = self._category_table
    item_ids = np.arange(1, len(table))
    embeddings = item_embedding.embed_all(self._scorer, table)
    items = ItemArrays(item_ids, table[1:].astype(np.int64), embeddings)
    retriever = Retriever(self._scorer, items, None, table)
    found = results.concatenate(
      list(brute_force.exact_search(retriever, self._held_out.histories, _K))
    )
    return metrics.share(
      metrics.hits(found.rows + 1, self._held_out.targets, _K)
    )
