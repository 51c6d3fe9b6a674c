"""Models exported for a GPU, their kernels under the emulator.

In TensorFlow's sessions, as a server runs them, with the kernels for GPUs
registered for the processor: what is not tested here is a GPU.
"""

import pathlib
from typing import Any

import numpy as np
import pytest

from nann import config, ops
from nann.delivery import exec_graph, placement, proof, verify
from tests.nann.delivery import models
from tests.nann.delivery.models import Exported, histories, to_raw
from tests.ops.tf import gpu_kernel

CPU = "/device:CPU:0"


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
  gpu_kernel.load()


def exported(folder: pathlib.Path, **settings: Any) -> Exported:
  return Exported(folder, models.serving(search_device="gpu", **settings))


SETTINGS: dict[str, dict[str, Any]] = {
  "fused": {},
  "policy paper": {"paper": True},
  "history left out": {"exclude_history": True},
  "by cost": {"mode": "auto"},
  "no attention": {"name": "dnn"},
  "stock scorer": {"name": "nann_plus"},
}


@pytest.mark.parametrize("case", SETTINGS)
def test_answers_are_those_of_a_cpu(case: str, tmp_path: pathlib.Path) -> None:
  on_cpu = Exported(tmp_path / "cpu", models.serving(**SETTINGS[case]))
  on_gpu = exported(tmp_path / "gpu", **SETTINGS[case])
  for number in (7, 1):
    raw = to_raw(histories(number))
    wanted = on_cpu.ask("retrieve", history_item_ids=raw)
    got = on_gpu.ask("retrieve", history_item_ids=raw)
    np.testing.assert_array_equal(got["item_ids"], wanted["item_ids"])
    np.testing.assert_array_equal(got["num_scored"], wanted["num_scored"])
    np.testing.assert_allclose(got["scores"], wanted["scores"], atol=1e-5)
  allowed = np.tile(raw, (len(raw), 1))
  wanted, got = (
    model.ask("retrieve", history_item_ids=raw, allowed_items=allowed)
    for model in (on_cpu, on_gpu)
  )
  np.testing.assert_array_equal(got["item_ids"], wanted["item_ids"])


def test_small_numbers_score_alike_but_for_rounding(
  tmp_path: pathlib.Path,
) -> None:
  raw = to_raw(histories())
  wanted, got = (
    model.ask("retrieve", history_item_ids=raw)["scores"]
    for model in (
      Exported(tmp_path / "cpu", models.serving(dtype="float16")),
      exported(tmp_path / "gpu", dtype="float16"),
    )
  )
  assert np.abs(got - wanted).max() < 3e-3 * np.ptp(wanted)


def test_export_proves_itself(tmp_path: pathlib.Path) -> None:
  model = exported(tmp_path)
  cases = proof.cases(model.serving, histories(), to_raw)
  assert {case.signature for case in cases} == {
    "retrieve",
    "score",
    "serving_default",
  }
  verify.check(cases, model.target, model.version)


def test_only_searches_may_run_on_a_gpu(tmp_path: pathlib.Path) -> None:
  model = exported(tmp_path, mode="auto")
  loaded = exec_graph.read_graph(model.target.exec_graph)
  saved = verify.open_saved_model(model.version)[0].graph.as_graph_def()
  for graph_def in (loaded, saved):
    free = [node for node in graph_def.node if node.device != CPU]
    assert {node.op for node in free} == {"Nann>BeamSearch"}
    assert {node.device for node in free} == {""}
    assert all(map(ops.is_for_gpu, free))
    scorers = {node.attr["scorer"].func.name for node in free}
    for function in graph_def.library.function:
      is_scorer = function.signature.name in scorers
      scores = [x for x in function.node_def if x.op == "Nann>PairScore"]
      assert all(ops.is_for_gpu(node) == is_scorer for node in scores)
      assert {node.device for node in function.node_def} <= (
        {""} if is_scorer else {CPU}
      )


def test_graph_for_a_cpu_is_left_as_it_is(tmp_path: pathlib.Path) -> None:
  model = Exported(tmp_path, models.serving())
  graph_def = exec_graph.read_graph(model.target.exec_graph)
  assert not any(node.device for node in graph_def.node)
  before = graph_def.SerializeToString(deterministic=True)
  placement.keep_on_cpu(graph_def)
  assert graph_def.SerializeToString(deterministic=True) == before


def test_search_in_a_condition_is_refused(tmp_path: pathlib.Path) -> None:
  with pytest.raises(ValueError, match="give --search-mode graph"):
    exported(tmp_path, mode="auto", paper=True)


def test_stock_ops_have_no_search_for_a_gpu() -> None:
  with pytest.raises(ValueError, match="--export-ops is stock, which has no"):
    config.ExportSettings(export_ops="stock", search_device="gpu")
