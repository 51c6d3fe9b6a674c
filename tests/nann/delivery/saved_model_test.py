"""A SavedModel goes where it is put."""

import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from nann.delivery import exec_graph, verify
from tests.conftest import run_python
from tests.nann.delivery import models
from tests.nann.delivery.models import Exported, K, histories, to_raw

# As a Python program loads any SavedModel.
LOAD = """
import sys
import numpy as np
import tensorflow as tf
if sys.argv[4] == "nann":
  from nann import ops
  ops.library()
model = tf.saved_model.load(sys.argv[1])
nothing = tf.zeros([0, 0], tf.int64)
answers = model.signatures["retrieve"](
    history_item_ids=tf.constant(np.load(sys.argv[2])), k=tf.constant(12),
    history_category_ids=nothing, allowed_items=nothing, excluded_items=nothing)
np.savez(sys.argv[3], **{name: x.numpy() for name, x in answers.items()})
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
  return Exported(tmp_path_factory.mktemp("export"), models.serving())


@pytest.mark.slow
@pytest.mark.parametrize("search_ops", ["nann", "stock"])
def test_moved_model_answers_alike_in_a_fresh_process(
  search_ops: str, tmp_path: pathlib.Path
) -> None:
  model = Exported(
    tmp_path / "here", models.serving(search_ops=search_ops), search_ops
  )
  raw = to_raw(histories())
  wanted = model.ask("retrieve", history_item_ids=raw)
  moved = tmp_path / "elsewhere" / "model"
  shutil.copytree(model.version, moved)
  shutil.rmtree(tmp_path / "here")
  np.save(tmp_path / "users.npy", raw)
  arguments = [moved, tmp_path / "users.npy", tmp_path / "out.npz", search_ops]
  done = run_python("-c", LOAD, *map(str, arguments))
  assert done.returncode == 0, done.stderr
  got = np.load(tmp_path / "out.npz")
  for name in wanted:
    np.testing.assert_array_equal(got[name], wanted[name])


def test_two_copies_answer_side_by_side(
  exported: Exported, tmp_path: pathlib.Path
) -> None:
  for copy in ("one", "other"):
    shutil.copytree(exported.version, tmp_path / copy)
  both = [
    tf.saved_model.load(str(tmp_path / copy)).signatures["score"]
    for copy in ("one", "other")
  ]
  raw = tf.constant(to_raw(histories(2)))
  inputs = {
    "history_item_ids": raw,
    "history_category_ids": tf.zeros([0, 0], tf.int64),
    "item_ids": raw,
  }
  both[1](**inputs)
  # Each reads its own files: the other's may go.
  shutil.rmtree(tmp_path / "other")
  got = both[0](**inputs)["scores"].numpy()
  wanted = exported.ask("score", history_item_ids=raw, item_ids=raw)["scores"]
  np.testing.assert_array_equal(got, wanted)


def test_no_path_of_this_machine_is_in_it(exported: Exported) -> None:
  names = str(exported.target.root).encode()
  for path in (exported.version / "saved_model.pb", exported.target.exec_graph):
    assert names not in path.read_bytes()


def test_defaults_of_optional_inputs_are_told(exported: Exported) -> None:
  _, signatures = verify.open_saved_model(exported.version)
  retrieve = signatures["retrieve"]
  assert sorted(retrieve.defaults) == [
    "allowed_items",
    "excluded_items",
    "history_category_ids",
    "k",
  ]
  assert tf.make_ndarray(retrieve.defaults["k"]) == K
  assert tf.make_ndarray(retrieve.defaults["allowed_items"]).shape == (0, 0)
  assert sorted(set(retrieve.inputs) - set(retrieve.defaults)) == [
    "history_item_ids"
  ]


def test_graph_is_small_and_holds_no_variable(exported: Exported) -> None:
  graph_def = exec_graph.read_graph(exported.target.exec_graph)
  bodies = [graph_def.node]
  bodies += [function.node_def for function in graph_def.library.function]
  ops = {node.op for body in bodies for node in body}
  assert "Nann>MappedTensor" in ops
  assert not {"VarHandleOp", "ReadVariableOp", "VariableV2"} & ops
  assert graph_def.ByteSize() < 2_000_000


@pytest.mark.parametrize("name", ["attention", "nann_plus"])
def test_stock_graph_holds_none_of_our_ops(
  name: str, tmp_path: pathlib.Path
) -> None:
  model = Exported(tmp_path, models.serving(name, search_ops="stock"), "stock")
  content = (model.version / "saved_model.pb").read_bytes()
  assert b"Nann>" not in content


def test_missing_array_is_named(
  exported: Exported, tmp_path: pathlib.Path
) -> None:
  shutil.copytree(exported.version, tmp_path / "model")
  for path in (tmp_path / "model" / "assets").glob("item_state_0*"):
    path.unlink()
  session, signatures = verify.open_saved_model(tmp_path / "model")
  answer = verify.answers_of(session, signatures)("retrieve")
  with pytest.raises(tf.errors.NotFoundError, match="item_state_0.*cannot be"):
    answer({"history_item_ids": to_raw(histories(1))})
