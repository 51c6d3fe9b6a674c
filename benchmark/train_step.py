"""One training step: samples a second, and where the time goes.

Parts are timed by leaving them out: the input alone, the step without the
adversarial pass, the whole step. The bound is the time of the matrix products
of a step at the rate of one large product in the same run.
"""

import pathlib
import tempfile

import harness
import numpy as np
import tensorflow as tf

from nann import config
from nann.data_provider import dataset, prepare, synthetic
from nann.model import negatives, trainer
from nann.model import scorer as scorers

# Multiply-adds of a pair: query 64x128, keys 128xL, values Lx128, item half
# 64x128, then 128x64, 64x32, 32. Forward and backward are three products each;
# the adversarial pass costs the same again.
_PAIR_MULTIPLY_ADDS = 64 * 128 + 2 * 128 * 50 + 64 * 128 + 128 * 64 + 64 * 33


def main() -> None:
  """Runs the benchmark."""
  demo = config.DEMO_DEFAULTS
  parser = harness.parser(__doc__ or "")
  parser.add_argument("--batch-size", type=int, default=demo["batch_size"])
  parser.add_argument("--num-neg", type=int, default=demo["num_neg"])
  parser.add_argument("--scorer", default="attention")
  parser.add_argument("--steps", type=int, default=30)
  arguments = parser.parse_args()
  with tempfile.TemporaryDirectory() as name:
    data = _demo_data(pathlib.Path(name))
    figures = _measure(data, arguments)
  harness.report(
    f"training step: {arguments.scorer}, batch {arguments.batch_size},"
    f" {arguments.num_neg} negatives",
    figures,
    arguments.json,
  )


def _demo_data(folder: pathlib.Path) -> dataset.PreparedData:
  defaults = config.DataSettings()
  csv = folder / "log.csv"
  log = synthetic.SyntheticLog(
    defaults.synthetic_users,
    defaults.synthetic_items,
    defaults.synthetic_categories,
    0,
  )
  synthetic.write_log(log, csv)
  prepare.prepare(config.DataSettings(input=(str(csv),)), folder, 0)
  return dataset.load(folder)


def _measure(data: dataset.PreparedData, arguments) -> dict[str, float]:  # type: ignore[no-untyped-def]
  batch_size, steps = arguments.batch_size, arguments.steps
  sampler = negatives.UnigramSampler(
    data.catalogue.counts, 1.0, arguments.num_neg, 0
  )
  plan = data.training_data(batch_size, 1, 0)

  def with_negatives(batch: trainer.Batch) -> trainer.Batch:
    return {**batch, "negatives": sampler.draw(batch["step"], batch_size)}

  (source,) = plan.batches()
  batches = source.map(with_negatives).repeat()

  def median_ms(run, repeats: int) -> float:  # type: ignore[no-untyped-def]
    return 1e3 * float(np.median(harness.seconds_of(run, repeats, 3)))

  reader = iter(batches)
  input_ms = median_ms(lambda: next(reader), 5 * steps)
  draw = tf.function(lambda step: sampler.draw(step, batch_size))
  sampler_ms = median_ms(lambda: draw(tf.constant(0)), 5 * steps)
  times = {}
  for name, adv_eps in (("clean", 0.0), ("whole", 3e-5)):
    made = _trainer(data, sampler, arguments.scorer, adv_eps)
    feed = iter(batches)

    def step(made=made, feed=feed) -> None:  # type: ignore[no-untyped-def]
      batch = next(feed)
      number = batch.pop("step")
      float(made.step(batch, number)["loss"])

    times[name] = median_ms(step, steps)
  num_pairs = batch_size * (1 + arguments.num_neg)
  bound_ms = _product_ms(2 * 3 * num_pairs * _PAIR_MULTIPLY_ADDS)
  return {
    "samples_per_s": 1e3 * batch_size / times["whole"],
    "pairs_per_s": 1e3 * num_pairs / times["whole"],
    "step_ms": times["whole"],
    "clean_step_ms": times["clean"],
    "adversarial_cost": times["whole"] / times["clean"],
    "input_ms": input_ms,
    "input_share": input_ms / times["whole"],
    "sampler_ms": sampler_ms,
    "sampler_share": sampler_ms / times["whole"],
    "share_of_matmul_bound": bound_ms / times["whole"],
  }


def _trainer(
  data: dataset.PreparedData,
  sampler: negatives.UnigramSampler,
  name: str,
  adv_eps: float,
) -> trainer.Trainer:
  spec = scorers.ScorerSpec(
    data.catalogue.num_items, data.catalogue.num_categories
  )
  train = config.TrainSettings()
  settings = trainer.StepSettings(
    loss=train.loss,
    adv_eps=adv_eps,
    adv_eps_relative=False,
    adv_weight=1.0,
    learning_rate=train.learning_rate,
    lr_schedule=train.lr_schedule,
    weight_decay=train.weight_decay,
    num_steps=1000,
  )
  return trainer.Trainer(
    scorers.create(name, spec),
    tf.distribute.get_strategy(),
    settings,
    data.catalogue.category_table(),
    sampler.log_expected_count(),
  )


def _product_ms(multiply_adds: float) -> float:
  """Returns what so many multiply-adds take in a large matrix product."""
  size = 2048
  matrix = tf.random.normal([size, size])
  product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)))
  seconds = np.median(harness.seconds_of(lambda: product().numpy(), 7, 2))
  return 1e3 * float(seconds) * multiply_adds / size**3


if __name__ == "__main__":
  main()
