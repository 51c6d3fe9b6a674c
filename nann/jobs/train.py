"""Job train: records -> model/. Goes on exactly where a killed run stopped."""

import contextlib
import dataclasses
import json
import math
import pathlib
import time
from typing import Any

import numpy as np
import tensorflow as tf

from nann import config, console, files, model_store, paths
from nann.data_provider import dataset
from nann.model import negatives, trainer
from nann.model import scorer as scorers

# A smoothed loss this much above its best is called divergence.
_DIVERGENCE = 1.5


def run(settings: config.Config) -> None:
  """Runs the job."""
  strategy = make_strategy(settings.train.num_replicas)
  data = dataset.load(pathlib.Path(settings.paths.dataset_dir))
  output = paths.OutputPaths(pathlib.Path(settings.paths.output_root))
  run_state = _Run(settings, strategy, data, output)
  run_state.train()


def make_strategy(num_replicas: int) -> tf.distribute.Strategy:
  """Returns MirroredStrategy over all GPUs or over logical CPU devices.

  Raises:
    ValueError: More replicas than GPUs are wanted.
  """
  gpus = tf.config.list_physical_devices("GPU")
  if gpus and num_replicas > len(gpus):
    raise ValueError(
      f"--num-replicas is {num_replicas}, but there are {len(gpus)} GPUs"
    )
  if gpus:
    number = num_replicas or len(gpus)
    return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(number)])
  number = num_replicas or 1
  if number > 1:
    (cpu,) = tf.config.list_physical_devices("CPU")
    logical = [tf.config.LogicalDeviceConfiguration()] * number
    # Fails when an earlier job of the same process has set it already.
    with contextlib.suppress(RuntimeError):
      tf.config.set_logical_device_configuration(cpu, logical)
  return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(number)])


class _Run:
  """A training run: what is made once, and the loop."""

  def __init__(
    self,
    settings: config.Config,
    strategy: tf.distribute.Strategy,
    data: dataset.PreparedData,
    output: paths.OutputPaths,
  ) -> None:
    train = settings.train
    self._settings = settings
    self._output = output
    self._batch_size = train.batch_size * strategy.num_replicas_in_sync
    self._batches = data.training_data(
      self._batch_size, train.train_epochs, settings.run.seed
    )
    self.num_steps = self._batches.num_steps
    if train.max_train_steps:
      self.num_steps = min(self.num_steps, train.max_train_steps)
    self._sampler = negatives.UnigramSampler(
      data.catalogue.counts, train.neg_alpha, train.num_neg, settings.run.seed
    )
    with strategy.scope():
      self._description, scorer = self._make_scorer(data)
      self._step = tf.Variable(0, dtype=tf.int64, name="step")
    self._trainer = trainer.Trainer(
      scorer,
      strategy,
      step_settings(train, self.num_steps),
      data.catalogue.category_table(),
      self._sampler.log_expected_count(),
    )
    checkpoint = tf.train.Checkpoint(
      scorer=scorer, optimizer=self._trainer.optimizer, step=self._step
    )
    self._manager = model_store.checkpoint_manager(
      checkpoint, output.model, self._step
    )

  def _make_scorer(
    self, data: dataset.PreparedData
  ) -> tuple[model_store.Description, scorers.Scorer]:
    """Makes a new scorer, or the one to start from."""
    settings, folder = self._settings, self._output.model
    spec = scorers.ScorerSpec(
      num_items=data.catalogue.num_items,
      num_categories=data.catalogue.num_categories,
      emb_dim=settings.scorer.emb_dim,
      mask_padding=settings.scorer.mask_padding,
      seed=settings.run.seed,
    )
    init_from = settings.train.init_from
    if model_store.holds_original_model(folder):
      init_from = str(folder)
    former = model_store.read_description(folder)
    if former is not None and former.init_from:
      # Goes on from a model whose layout came from another checkpoint.
      return former, scorers.create(former.name, former.spec)
    if not init_from:
      scorer = scorers.create(settings.scorer.scorer, spec)
      return model_store.Description(settings.scorer.scorer, spec), scorer
    source = model_store.load(pathlib.Path(init_from))
    wanted = (spec.num_items, spec.num_categories)
    got = (source.spec.num_items, source.spec.num_categories)
    if wanted != got:
      raise ValueError(
        f"{source.checkpoint} has {got[0]:,} items, {got[1]:,} categories, the"
        f" data set {wanted[0]:,} and {wanted[1]:,}"
      )
    console.say(f"starting from {source.checkpoint}")
    description = model_store.Description(
      source.name, source.spec, source.checkpoint
    )
    return description, source.scorer

  def _resume(self) -> None:
    """Restores the newest checkpoint of the output folder, if there is one."""
    latest = self._manager.latest_checkpoint
    if latest is None:
      model_store.describe(self._output.model, self._description)
      self._output.training_log.unlink(missing_ok=True)
      return
    found = model_store.read_description(self._output.model)
    if found != self._description:
      raise ValueError(
        f"{self._output.model} holds another model ({found}); choose another"
        " --output-root or remove it"
      )
    try:
      self._manager.checkpoint.restore(latest).assert_consumed()
    except (AssertionError, tf.errors.OpError, ValueError) as error:
      raise ValueError(
        f"{latest} cannot be resumed ({str(error)[:300]}); choose another"
        " --output-root or remove it"
      ) from error
    console.say(f"going on from step {self._steps_done():,} ({latest})")
    _cut_log(self._output.training_log, self._steps_done())

  def train(self) -> None:
    """Runs the steps that are left."""
    settings = self._settings.train
    self._output.model.mkdir(parents=True, exist_ok=True)
    self._resume()
    start = self._steps_done()
    if start >= self.num_steps:
      console.say(f"nothing to do: all {self.num_steps:,} steps are done")
      return
    console.say(
      f"training {self._description.name}: {self.num_steps - start:,} steps of"
      f" {self._batch_size} x (1 + {settings.num_neg}) pairs"
    )
    monitor = _Monitor(self._output, self.num_steps, self._batch_size, start)
    for batch in self._batches_from(start):
      results = self._trainer.step(batch, self._step.value())
      self._step.assign_add(1)
      step = self._steps_done()
      monitor.add(step, results)
      last = step == self.num_steps
      if last or step % settings.print_freq == 0:
        monitor.report(step)
      if last or step % settings.save_freq == 0:
        monitor.check(step)
        self._manager.save(checkpoint_number=step)
      if last:
        break
    monitor.close()
    console.say(f"model in {self._output.model}")

  def _steps_done(self) -> int:
    return int(self._step.numpy())

  def _batches_from(self, step: int) -> Any:
    sampler, rows = self._sampler, self._batch_size

    def add_negatives(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
      step = batch.pop("step")
      return {**batch, "negatives": sampler.draw(step, rows)}

    for part in self._batches.batches(step):
      yield from part.map(add_negatives).prefetch(4)


def step_settings(
  train: config.TrainSettings, num_steps: int
) -> trainer.StepSettings:
  """Returns the settings of one step."""
  names = {field.name for field in dataclasses.fields(trainer.StepSettings)}
  values = {
    name: value
    for name, value in dataclasses.asdict(train).items()
    if name in names
  }
  return trainer.StepSettings(num_steps=num_steps, **values)


class _Monitor:
  """Collects what the steps return; prints, writes and judges it."""

  def __init__(
    self,
    output: paths.OutputPaths,
    num_steps: int,
    batch_size: int,
    start: int,
  ) -> None:
    self._log_path = output.training_log
    self._writer = tf.summary.create_file_writer(str(output.tensorboard))
    self._num_steps, self._batch_size = num_steps, batch_size
    self._pending: list[tuple[int, dict[str, tf.Tensor]]] = []
    self._last_step, self._last_time = start, time.monotonic()
    self._best_loss = math.inf

  def add(self, step: int, results: dict[str, tf.Tensor]) -> None:
    self._pending.append((step, results))

  def check(self, step: int) -> dict[str, float]:
    """Returns the means since the last call.

    Raises:
      ValueError: A loss is not a number.
    """
    values = {
      name: np.array([float(results[name]) for _, results in self._pending])
      for name in (self._pending[0][1] if self._pending else {})
    }
    if values and not np.isfinite(values["loss"]).all():
      bad = int(np.argmin(np.isfinite(values["loss"])))
      raise ValueError(
        f"the loss became {values['loss'][bad]} at step"
        f" {self._pending[bad][0]:,}; the last checkpoint is from before it."
        " Lower --learning-rate, or start again with another --seed"
      )
    return {name: float(array.mean()) for name, array in values.items()}

  def report(self, step: int) -> None:
    """Prints a line and writes the scalars of the steps since the last one."""
    means = self.check(step)
    now = time.monotonic()
    steps = max(step - self._last_step, 1)
    seconds = max(now - self._last_time, 1e-9)
    rate = steps * self._batch_size / seconds
    left = (self._num_steps - step) * seconds / steps
    console.say(
      f"step {step:,}/{self._num_steps:,}  loss {means['loss']:.4f}"
      f"  adversarial {means['loss_adversarial']:.1e}"
      f"  accuracy {means['accuracy']:.3f}"
      f"  {rate:,.0f} samples/s  {console.duration(left)} left"
    )
    self._best_loss = min(self._best_loss, means["loss"])
    if means["loss"] > _DIVERGENCE * self._best_loss:
      console.warn(
        f"the loss is {means['loss']:.3f}, it was {self._best_loss:.3f}: this"
        " training diverges. Lower --learning-rate"
      )
    means["samples_per_s"] = rate
    with self._writer.as_default(step=step):
      for name, value in means.items():
        tf.summary.scalar(name, value)
    with open(self._log_path, "a") as log:
      log.write(json.dumps({"step": step, **means}) + "\n")
    self._pending.clear()
    self._last_step, self._last_time = step, now

  def close(self) -> None:
    self._writer.close()


def _cut_log(path: pathlib.Path, step: int) -> None:
  """Drops what was logged after the step a run goes on from."""
  if not path.exists():
    return
  lines = [
    line
    for line in path.read_text().splitlines()
    if json.loads(line)["step"] <= step
  ]
  with files.written_whole(path) as temporary:
    temporary.write_text("".join(line + "\n" for line in lines))
