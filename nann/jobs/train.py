"""Job train: records -> model/. Goes on exactly where a killed run stopped."""

import contextlib
import dataclasses
import math
import os
import pathlib
import sys
import tempfile
import time
from typing import Any

import numpy as np
import tensorflow as tf

from nann import config, console, files, model_store, paths
from nann.data_provider import dataset
from nann.jobs import training_checks, training_monitor, workers
from nann.model import (
  negatives,
  neighbors,
  sequence_trainer,
  trainer,
  warm_start,
)
from nann.model import scorer as scorers
from nann.model.nann_plus import NannPlusScorer

_FEW_CORES = 4


def run(settings: config.Config) -> None:
  """Runs the job."""
  if workers.is_server():
    workers.serve()
    return
  if workers.are_several():
    strategy = workers.make_strategy()
  else:
    strategy = make_strategy(
      settings.train.num_replicas, settings.scorer.scorer
    )
  data = dataset.load(pathlib.Path(settings.paths.dataset_dir))
  if settings.train.train_on_validation:
    data = data.with_validation_users()
  output = paths.OutputPaths(pathlib.Path(settings.paths.output_root))
  with tempfile.TemporaryDirectory() as scratch:
    written = workers.writable(output, pathlib.Path(scratch))
    with workers.losses_explained():
      _Run(settings, strategy, data, output, written).train()


def make_strategy(num_replicas: int, scorer: str) -> tf.distribute.Strategy:
  """Returns MirroredStrategy over all GPUs or over logical CPU devices.

  Args:
    num_replicas: As many; 0: all GPUs, or one on the CPU.
    scorer: Name of what will be trained.

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
  is_small = number == 1 and (os.cpu_count() or 1) <= _FEW_CORES
  if is_small and scorer != "nann_plus":
    # Operations on all pairs take all cores each; two at a time take more
    # memory, and no less time. Fails when an earlier job of the same process
    # has begun to compute.
    with contextlib.suppress(RuntimeError):
      tf.config.threading.set_inter_op_parallelism_threads(1)
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
    written: paths.OutputPaths,
  ) -> None:
    train = settings.train
    self._settings, self._data, self._output = settings, data, output
    # The same folder, but for a worker that is not the chief.
    self._written = written
    with strategy.scope():
      self._description, scorer = self._make_scorer(data)
      self._step = tf.Variable(0, dtype=tf.int64, name="step")
    replicas = strategy.num_replicas_in_sync
    self._on_sequences = isinstance(scorer, NannPlusScorer)
    if self._on_sequences:
      self._batch_size = train.sequence_batch * replicas
      # As many for each row, so that the rows can be spread over replicas.
      share = math.ceil(train.sequence_negatives / self._batch_size)
      num_negatives = share * self._batch_size
    else:
      self._batch_size = train.batch_size * replicas
      num_negatives = train.num_neg
    self._batches = data.training_data(
      self._batch_size, train.train_epochs, settings.run.seed
    )
    self._sampler = negatives.UnigramSampler(
      data.catalogue.counts, train.neg_alpha, num_negatives, settings.run.seed
    )
    num_steps = self._planned_steps()
    make_trainer = (
      sequence_trainer.SequenceTrainer
      if self._on_sequences
      else trainer.Trainer
    )
    self._trainer = make_trainer(
      scorer,
      strategy,
      step_settings(train, num_steps, settings.run.seed),
      data.catalogue.category_table(),
      self._sampler.log_expected_count(),
    )
    self._steps = workers.Steps(strategy, self._trainer)
    self._budget = training_checks.TimeBudget(
      60.0 * train.time_budget, self._trainer.num_steps
    )
    self._validation = self._make_validation()
    state: dict[str, Any] = {}
    if self._validation is not None:
      state["validation"] = self._validation.state
    if train.time_budget or train.patience:
      # Otherwise the flags say it, and may ask a resumed run for more.
      state["num_steps"] = self._trainer.num_steps
    checkpoint = tf.train.Checkpoint(
      scorer=scorer,
      optimizer=self._trainer.optimizer,
      step=self._step,
      seconds=self._budget.seconds,
      **state,
    )
    self._manager = model_store.checkpoint_manager(
      checkpoint, output.model, self._step
    )

  def _planned_steps(self) -> int:
    """Returns the steps of all epochs, or as many as are asked for."""
    train = self._settings.train
    num_steps = self._batches.num_steps
    is_limited = train.time_budget or train.max_train_steps
    if self._on_sequences and not is_limited:
      # A window teaches as many targets as it is long.
      num_steps = math.ceil(num_steps / self._data.max_length)
    return min(num_steps, train.max_train_steps or sys.maxsize)

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
      max_length=data.max_length,
      encoder=settings.scorer.encoder,
      fism=settings.scorer.fism,
      attention_term=settings.scorer.attention_term,
      repeats=settings.scorer.repeats,
      neighbors=settings.scorer.neighbors,
      warm_start=settings.scorer.warm_start,
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
      self._begin()
      model_store.describe(self._written.model, self._description)
      self._written.training_log.unlink(missing_ok=True)
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
    training_monitor.cut_log(self._written.training_log, self._steps_done())

  def _begin(self) -> None:
    """Tells a new `nann_plus` what counting knows."""
    scorer, seed = self._trainer.scorer, self._settings.run.seed
    is_new = not self._description.init_from
    if not (isinstance(scorer, NannPlusScorer) and is_new):
      return
    warm, near, begin = None, None, time.monotonic()
    if scorer.spec.warm_start or scorer.spec.neighbors:
      sequences = self._data.train_sequences()
      counted = (
        sequences.item_ids,
        sequences.row_splits,
        scorer.spec.num_items,
        2 * scorer.spec.emb_dim,
        seed,
      )
      if scorer.spec.warm_start:
        total = warm_start.PASSES * (len(sequences.row_splits) - 1)
        with console.progress(total, "user", "counting") as bar:
          warm = warm_start.compute(*counted, progress=bar.update)
      if scorer.spec.neighbors:
        near = neighbors.compute(*counted)
      seconds = time.monotonic() - begin
      console.say(f"counting: {console.duration(seconds)}")
    scorer.begin_with(self._data.catalogue.counts, warm, near)
    if near is not None and self._validation is None:
      scorer.neighbors.weight.assign(self._settings.scorer.neighbors_weight)

  def _choose_weights(
    self, scorer: NannPlusScorer, validation: training_checks.Validation
  ) -> None:
    if scorer.spec.neighbors and not self._description.init_from:
      validation.choose(scorer.neighbors.weight)

  @property
  def num_steps(self) -> int:
    """Steps of the whole training; a time budget may change it."""
    return int(self._trainer.num_steps.numpy())

  def train(self) -> None:
    """Runs the steps that are left."""
    settings = self._settings.train
    self._written.model.mkdir(parents=True, exist_ok=True)
    self._resume()
    start = self._steps_done()
    if start >= self.num_steps:
      console.say(f"nothing to do: all {self.num_steps:,} steps are done")
      return
    console.say(
      f"training {self._description.name}: {self.num_steps - start:,} steps of"
      f" {self._batch_size} {self._unit()}"
    )
    monitor = training_monitor.Monitor(
      self._written, self._batch_size, start, self._save_batch
    )
    validation = self._validation
    budget = self._budget
    budget.begin()
    for batch in self._batches_from(start):
      results = self._steps.take(batch, self._steps_done())
      self._step.assign_add(1)
      step = self._steps_done()
      monitor.add(step, results)
      if settings.time_budget:
        float(results["loss"])  # Waits for the step, which is to be timed.
      budget.after_step(step)
      last = step >= self.num_steps
      if last or step % settings.print_freq == 0:
        monitor.report(step, self.num_steps)
      if validation is not None and self._is_due(step):
        self._steps.wait()
        monitor.check(step)
        monitor.write(step, {"validation_recall": validation.measure(step)})
        budget.after_validation()
        stop = settings.patience and validation.since_best >= settings.patience
        if stop and not last:
          console.say(
            f"no better for {settings.patience} validations: stopping"
          )
          self._trainer.num_steps.assign(step)
          last = True
      if last and validation is not None:
        validation.take_best()
        if isinstance(self._trainer.scorer, NannPlusScorer):
          self._choose_weights(self._trainer.scorer, validation)
      if last or step % settings.save_freq == 0:
        monitor.check(step)
        self._save(step)
      if last:
        break
    monitor.close()
    console.say(f"model in {self._output.model}")

  def _save(self, step: int) -> None:
    self._steps.wait()
    if self._written is self._output:
      model_store.save(self._manager, step)
    else:
      # Saving takes part in sums over the workers: all do it or none.
      self._manager.checkpoint.write(str(self._written.model / "ckpt"))

  def _unit(self) -> str:
    number = self._settings.train.num_neg
    return "sequences" if self._on_sequences else f"x (1 + {number}) pairs"

  def _make_validation(self) -> training_checks.Validation | None:
    train = self._settings.train
    if not train.num_validations or train.train_on_validation:
      return None
    validation = training_checks.Validation.of(
      self._trainer.scorer, self._data, self._written.model
    )
    if validation is None:
      console.say("without validation the last weights are kept")
    return validation

  def _is_due(self, step: int) -> bool:
    """Returns whether a validation falls on a step, the last one included."""
    number, total = self._settings.train.num_validations, self.num_steps
    return step * number // total > (step - 1) * number // total

  def _steps_done(self) -> int:
    return int(self._step.numpy())

  def _batches_from(self, step: int) -> Any:
    sampler, rows = self._sampler, self._batch_size
    on_sequences = self._on_sequences
    is_shared = on_sequences or self._settings.train.shared_negatives

    def add_negatives(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
      step = batch.pop("step")
      drawn = sampler.draw(step, 1 if is_shared else rows)
      if on_sequences:
        drawn = tf.reshape(drawn, [rows, -1])
      return {**batch, "negatives": drawn}

    # Nothing here is left to tune, and the end of an iterator that is tuned
    # may wait a minute for the tuner, whose wake-up call can get lost.
    options = tf.data.Options()
    options.autotune.enabled = False
    for part in self._batches.batches(step):
      yield from part.map(add_negatives).prefetch(4).with_options(options)

  def _save_batch(self, step: int) -> pathlib.Path:
    """Writes what a step was trained on as .npz, made once more."""
    batch = next(iter(self._batches_from(step - 1)))
    path = self._written.bad_batch
    with files.written_whole(path) as temporary:
      np.savez(temporary, **{name: x.numpy() for name, x in batch.items()})
    return path


def step_settings(
  train: config.TrainSettings, num_steps: int, seed: int
) -> trainer.StepSettings:
  """Returns the settings of one step."""
  names = {field.name for field in dataclasses.fields(trainer.StepSettings)}
  values = {
    name: value
    for name, value in dataclasses.asdict(train).items()
    if name in names
  }
  return trainer.StepSettings(num_steps=num_steps, seed=seed, **values)
