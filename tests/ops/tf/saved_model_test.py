"""The ops in what a model is delivered as: SavedModel and frozen graph."""

import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
  convert_variables_to_constants_v2,
)

from tests.conftest import run_python
from tests.ops.tf import small_model

Answers = dict[str, np.ndarray]

LOAD = """
import sys
import numpy as np
from tests.ops.tf import small_model
np.savez(sys.argv[2], **small_model.load_and_search(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> small_model.SmallModel:
  return small_model.SmallModel(tmp_path_factory.mktemp("arrays"))


@pytest.fixture(scope="module")
def answers(model: small_model.SmallModel) -> Answers:
  found = model.search(*map(tf.constant, small_model.queries()))
  return {name: tensor.numpy() for name, tensor in found.items()}


@pytest.fixture
def saved(
  model: small_model.SmallModel, tmp_path: pathlib.Path
) -> pathlib.Path:
  small_model.save(model, tmp_path / "saved")
  return tmp_path / "saved"


def test_answers_are_good(answers: Answers) -> None:
  assert answers["rows"].shape == (5, small_model.K)
  assert (np.diff(answers["scores"], axis=1) <= 0).all()
  assert (answers["num_scored"].sum(axis=1) > 40).all()


def same(got: Answers, answers: Answers) -> None:
  assert sorted(got) == sorted(answers)
  for name in answers:
    np.testing.assert_array_equal(got[name], answers[name])


@pytest.mark.slow
def test_moved_model_answers_alike_in_a_fresh_process(
  saved: pathlib.Path, answers: Answers, tmp_path: pathlib.Path
) -> None:
  # The arrays come along: nothing points to where they were.
  assert {path.name for path in (saved / "assets").iterdir()} == {
    "values.npy",
    "row_splits.npy",
    "items.npy",
  }
  moved = tmp_path / "elsewhere" / "model"
  moved.parent.mkdir()
  shutil.move(saved, moved)
  output = tmp_path / "answers.npz"
  done = run_python("-c", LOAD, str(moved), str(output))
  assert done.returncode == 0, done.stderr
  same(dict(np.load(output)), answers)


def test_two_versions_answer_side_by_side(
  saved: pathlib.Path, answers: Answers
) -> None:
  loaded = [tf.saved_model.load(str(saved)) for _ in range(2)]
  for model in loaded:
    found = model.search(*map(tf.constant, small_model.queries()))
    same({name: tensor.numpy() for name, tensor in found.items()}, answers)


def test_frozen_graph_answers_alike_in_a_session(
  model: small_model.SmallModel, answers: Answers
) -> None:
  # The scorer is frozen first: freezing the outer function leaves it alone.
  weights = model.weights
  try:
    model.weights = tf.constant(weights.numpy())
    concrete = tf.function(
      model.search.python_function,
      input_signature=model.search.input_signature,
    ).get_concrete_function()
    frozen = convert_variables_to_constants_v2(concrete)
  finally:
    model.weights = weights
  graph_def = frozen.graph.as_graph_def()
  text = graph_def.SerializeToString()
  graph_def = tf.compat.v1.GraphDef.FromString(text)
  names = [output.name for output in frozen.outputs]
  users, entries = small_model.queries()
  with tf.Graph().as_default() as graph:
    tf.graph_util.import_graph_def(graph_def, name="")
    with tf.compat.v1.Session(graph=graph) as session:
      feeds = {"users:0": users, "entries:0": entries}
      found = session.run(names, feeds)
      # Another set of fetches, another function library.
      alone = session.run(names[0], feeds)
  got = dict(zip(sorted(answers), found, strict=True))
  same(got, answers)
  np.testing.assert_array_equal(alone, found[0])


REPLICAS = """
import pathlib, sys
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.ops.tf import small_model
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
  model = small_model.SmallModel(pathlib.Path(sys.argv[1]))
@tf.function
def search(users, entries):
  return strategy.run(model.search.python_function, (users, entries))
def part(context):
  rows = slice(0, 3) if context.replica_id_in_sync_group == 0 else slice(3, 5)
  return [tf.constant(array[rows]) for array in small_model.queries()]
users, entries = (
    strategy.experimental_distribute_values_from_function(
        lambda context, i=i: part(context)[i]) for i in range(2))
found = search(users, entries)
graph = search.get_concrete_function(users, entries).graph
devices = {op.device for op in graph.get_operations()
           if op.type == "Nann>BeamSearch"}
assert len(devices) == 2, devices
np.savez(sys.argv[2], **{
    name: np.concatenate([part.numpy() for part in value.values])
    for name, value in found.items()})
"""


@pytest.mark.slow
def test_replicas_on_two_devices_answer_alike(
  answers: Answers, tmp_path: pathlib.Path
) -> None:
  output = tmp_path / "answers.npz"
  done = run_python("-c", REPLICAS, str(tmp_path), str(output))
  assert done.returncode == 0, done.stderr
  same(dict(np.load(output)), answers)


ONE_THREAD = """
import tensorflow as tf
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.config.threading.set_intra_op_parallelism_threads(1)
from tests.ops.tf import beam_search_run_test as runs, cases
for score in runs.SCORERS.values():
  inputs = runs.arguments() | runs.traced(score)
  search = tf.function(lambda inputs=inputs: cases.call(inputs))
  assert cases.answers(search()) == runs.EXPECTED
  one = {name: inputs[name][:1] for name in ("expand", "only_score", "denied")}
  one["user_state"] = [runs.WORLD.scores[:1]]
  search = tf.function(lambda inputs=inputs | one: cases.call(inputs))
  assert cases.answers(search()) == runs.EXPECTED[:1]
  with tf.Graph().as_default():
    rows = cases.call(runs.arguments() | runs.traced(score)).rows
    config = tf.compat.v1.ConfigProto(
        inter_op_parallelism_threads=1, intra_op_parallelism_threads=1,
        use_per_session_threads=True)
    with tf.compat.v1.Session(config=config) as session:
      session.run(rows)
"""


@pytest.mark.slow
def test_pools_of_one_thread_do_not_deadlock() -> None:
  done = run_python("-c", ONE_THREAD)
  assert done.returncode == 0, done.stderr
