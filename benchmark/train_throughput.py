"""Training: samples a second, memory, and where the time of a step goes.

Each measurement runs in a process of its own, so that its memory and its first
step are its own; but tables of several sizes are trained in one, in turns, for
a machine's clock drifts more than a step grows. The records are made up, in the
shapes of the UserBehavior data: item ids by a power law, as many categories as
there. Parts are timed by leaving them out: the input alone, the step without
the adversarial pass, the whole step. The bound is the time of the matrix
products of a step at the rate of one large product in the same process.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import harness
import numpy as np
import tensorflow as tf

from nann import config
from nann.data_provider import catalogue, records, training_data
from nann.jobs import train as train_job
from nann.model import negatives, trainer
from nann.model import scorer as scorers

# UserBehavior: 4,162,024 items, 9,439 categories, 102 events a user.
_ITEMS, _CATEGORIES, _EVENTS_PER_USER = 4_162_024, 9_439, 102
_USERS, _EXPONENT, _EVENTS = 20_000, 0.7, 100_150_807
_GROWTH = (1_000_000, _ITEMS, 10_000_000)
_WARM_UP = 3
# The original on two cores of such a machine (one run, another program).
_ORIGINAL_SAMPLES_PER_S, _ORIGINAL_RSS_GB = 87.0, 12.1
# Multiply-adds of a pair: query 64x128, keys 128xL, values Lx128, item half
# 64x128, then 128x64, 64x32, 32. Forward and backward are three products each;
# the adversarial pass costs the same again, but for the items' half.
_PAIR_MULTIPLY_ADDS = 64 * 128 + 2 * 128 * 50 + 64 * 128 + 128 * 64 + 64 * 33


def main() -> None:
  """Runs the benchmark, or one measurement of it."""
  arguments = _parser().parse_args()
  if arguments.measure:
    folder = pathlib.Path(arguments.measure)
    measure = _measure_growth if arguments.growth else _measure
    print(json.dumps(measure(arguments, folder)))
    return
  with tempfile.TemporaryDirectory() as name:
    figures = _figures(arguments, pathlib.Path(name))
  harness.report(
    f"training: {arguments.scorer}, {arguments.items:,} items, batch"
    f" {arguments.batch_size}, {arguments.num_neg} negatives",
    figures,
    arguments.json,
  )


def _parser() -> argparse.ArgumentParser:
  parser = harness.parser(__doc__ or "")
  parser.add_argument("--items", type=int, default=_ITEMS)
  parser.add_argument("--batch-size", type=int, default=800)
  parser.add_argument("--num-neg", type=int, default=200)
  parser.add_argument("--adv-eps", type=float, default=3e-5)
  parser.add_argument("--scorer", default="attention")
  parser.add_argument("--steps", type=int, default=12)
  parser.add_argument(
    "--growth",
    action="store_true",
    help="also measure 1 M, 4.16 M and 10 M items",
  )
  parser.add_argument(
    "--measure", metavar="FOLDER", help="used by the benchmark itself"
  )
  parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
  parser.add_argument(
    "--shared-negatives", action="store_true", help=argparse.SUPPRESS
  )
  return parser


def _figures(
  arguments: argparse.Namespace, folder: pathlib.Path
) -> dict[str, float]:
  data = folder / "data"
  _write_data(data, arguments.items)
  whole = _child(arguments, data)
  clean = _child(arguments, data, "--adv-eps", "0")
  shared = _child(arguments, data, "--shared-negatives")
  step_ms = whole["step_ms"]
  figures = {
    "samples_per_s": whole["samples_per_s"],
    "samples_per_s_over_original": (
      whole["samples_per_s"] / _ORIGINAL_SAMPLES_PER_S
    ),
    "peak_rss_gb": whole["peak_rss_gb"],
    "peak_rss_over_original": whole["peak_rss_gb"] / _ORIGINAL_RSS_GB,
    "pairs_per_s": whole["pairs_per_s"],
    "pairs_per_s_shared": shared["pairs_per_s"],
    "pairs_per_s_shared_over_original": (
      shared["pairs_per_s"] / (_ORIGINAL_SAMPLES_PER_S * 201)
    ),
    "samples_per_s_without_adversarial": clean["samples_per_s"],
    "adversarial_cost": step_ms / clean["step_ms"],
    "step_ms": step_ms,
    "first_step_s": whole["first_step_s"],
    "input_share": whole["input_ms"] / step_ms,
    "sampler_share": whole["sampler_ms"] / step_ms,
    "share_of_matmul_bound": whole["bound_ms"] / step_ms,
  }
  if arguments.growth:
    figures |= _growth(arguments, folder)
  return figures


def _growth(
  arguments: argparse.Namespace, folder: pathlib.Path
) -> dict[str, float]:
  """Returns how a step's time depends on the number of items.

  Once the same million items are drawn from tables of all sizes; once all items
  of a table are, and a step of a larger one meets more distinct items.
  """
  figures: dict[str, float] = {}
  for ending, drawn in (("", _GROWTH[0]), ("_all_drawn", _GROWTH[-1])):
    world = folder / f"drawn_{drawn}"
    world.mkdir()
    for number in _GROWTH:
      _write_data(world / str(number), number, drawn)
    found = _child(arguments, world, "--growth")
    figures |= {f"{name}{ending}": value for name, value in found.items()}
  return figures


def _child(
  arguments: argparse.Namespace, data: pathlib.Path, *more: str
) -> dict[str, float]:
  """Measures in a new process."""
  passed = [
    f"--{name.replace('_', '-')}={getattr(arguments, name)}"
    for name in ("batch_size", "num_neg", "adv_eps", "scorer", "steps")
  ]
  command = [sys.executable, __file__, f"--measure={data}", *passed, *more]
  started = f"--started={time.time()}"
  found = subprocess.run(
    [*command, started], check=True, stdout=subprocess.PIPE, text=True
  )
  values: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
  return values


def _write_data(
  folder: pathlib.Path, num_items: int, num_drawn: int | None = None
) -> None:
  """Writes a catalogue and records of sequences.

  Args:
    folder: Where.
    num_items: Of the catalogue.
    num_drawn: At most so many of them occur, spread over all ids; None: all.
  """
  folder.mkdir()
  rng = np.random.default_rng(0)
  share = np.arange(1, num_items + 1, dtype=np.float64) ** -_EXPONENT
  share[num_items if num_drawn is None else num_drawn :] = 0.0
  share = rng.permutation(share / share.sum())
  number = _USERS * _EVENTS_PER_USER
  ends = np.cumsum(share)
  item_ids = np.searchsorted(ends, rng.random(number) * ends[-1]) + 1
  places = np.arange(_USERS + 1) * _EVENTS_PER_USER
  records.write_shard(
    folder / "records",
    np.arange(_USERS),
    item_ids,
    places[:-1],
    places[1:],
  )
  catalogue.save_catalogue(
    folder / "items.npz",
    catalogue.Catalogue(
      rng.integers(1, _CATEGORIES + 1, num_items),
      np.ceil(share * _EVENTS),
      np.arange(num_items),
      np.arange(_CATEGORIES),
    ),
  )


class _Training(NamedTuple):
  """What a training takes.

  Attributes:
    sampler: Of its negatives.
    batches: An epoch of batches with their negatives.
    rows: Rows of negatives in a batch.
    step: Takes the next step and waits for it.
  """

  sampler: negatives.UnigramSampler
  batches: tf.data.Dataset
  rows: int
  step: Callable[[], None]


def _begin(arguments: argparse.Namespace, folder: pathlib.Path) -> _Training:
  """Begins to train on the data of a folder."""
  items = catalogue.load_catalogue(folder / "items.npz")
  windows = _USERS * (_EVENTS_PER_USER - 3)
  shard = training_data.Shard(
    folder / "records", _USERS * _EVENTS_PER_USER, windows
  )
  plan = training_data.SequenceTrainingData(
    [shard], arguments.batch_size, 1, 50, 3, 0
  )
  sampler = negatives.UnigramSampler(
    items.counts, 1.0, arguments.num_neg, seed=0
  )
  made = _trainer(items, sampler, arguments)
  rows = 1 if arguments.shared_negatives else arguments.batch_size
  (batches,) = plan.batches()

  def with_negatives(batch: trainer.Batch) -> trainer.Batch:
    return {**batch, "negatives": sampler.draw(batch["step"], rows)}

  batches = batches.map(with_negatives)
  feed = iter(batches.prefetch(4).repeat())

  def step() -> None:
    batch = next(feed)
    number = batch.pop("step")
    float(made.step(batch, number)["loss"])

  return _Training(sampler, batches, rows, step)


def _measure(
  arguments: argparse.Namespace, folder: pathlib.Path
) -> dict[str, float]:
  """Trains some steps on the data of a folder."""
  training = _begin(arguments, folder)
  training.step()
  first_step_s = time.time() - arguments.started
  times = harness.seconds_of(training.step, arguments.steps, _WARM_UP)
  step_s = np.median(times)
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
  num_pairs = arguments.batch_size * (1 + arguments.num_neg)
  reader = iter(training.batches.repeat())
  draw = tf.function(
    lambda number: training.sampler.draw(number, training.rows)
  )
  products = 3.0 if arguments.adv_eps == 0 else 6.0
  return {
    "samples_per_s": arguments.batch_size / step_s,
    "pairs_per_s": num_pairs / step_s,
    "step_ms": 1e3 * step_s,
    "first_step_s": first_step_s,
    "peak_rss_gb": peak / 1e9,
    "input_ms": _median_ms(lambda: next(reader)),
    "sampler_ms": _median_ms(lambda: draw(tf.constant(0))),
    "bound_ms": _product_ms(products * num_pairs * _PAIR_MULTIPLY_ADDS),
  }


def _measure_growth(
  arguments: argparse.Namespace, folder: pathlib.Path
) -> dict[str, float]:
  """Trains tables of several sizes, a step of each in turn."""
  trainings = [_begin(arguments, folder / str(number)) for number in _GROWTH]
  steps = [training.step for training in trainings]
  harness.seconds_of(lambda: [step() for step in steps], _WARM_UP)
  seconds = np.array(
    [
      [harness.seconds_of(step, 1, 0)[0] for step in steps]
      for _ in range(arguments.steps)
    ]
  )
  figures = {
    "step_growth_10m_over_1m": np.median(seconds[:, -1] / seconds[:, 0])
  }
  for number, of_size, training in zip(
    _GROWTH, seconds.T, trainings, strict=True
  ):
    figures[f"step_ms_{number}"] = 1e3 * np.median(of_size)
    batch = next(training.batches.as_numpy_iterator())
    ids = [batch[name].ravel() for name in ("history", "target", "negatives")]
    figures[f"distinct_items_{number}"] = len(np.unique(np.concatenate(ids)))
  return {name: float(value) for name, value in figures.items()}


def _trainer(
  items: catalogue.Catalogue,
  sampler: negatives.UnigramSampler,
  arguments: argparse.Namespace,
) -> trainer.Trainer:
  """Returns what the train job makes, with its defaults."""
  settings = config.TrainSettings(
    adv_eps=arguments.adv_eps, shared_negatives=arguments.shared_negatives
  )
  strategy = train_job.make_strategy(1, arguments.scorer)
  with strategy.scope():
    spec = scorers.ScorerSpec(items.num_items, items.num_categories)
    scorer = scorers.create(arguments.scorer, spec)
  return trainer.Trainer(
    scorer,
    strategy,
    train_job.step_settings(settings, 1000, 0),
    items.category_table(),
    sampler.log_expected_count(),
  )


def _median_ms(run: Callable[[], object]) -> float:
  return 1e3 * float(np.median(harness.seconds_of(run, 20, 3)))


def _product_ms(multiply_adds: float) -> float:
  """Returns what so many multiply-adds take in a large matrix product."""
  size = 2048
  matrix = tf.random.normal([size, size])
  product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)))
  seconds = np.median(harness.seconds_of(lambda: product().numpy(), 7, 2))
  return 1e3 * float(seconds) * multiply_adds / size**3


if __name__ == "__main__":
  main()
