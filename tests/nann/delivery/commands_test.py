"""The documented delivery commands, word for word, on the original's model."""

import importlib.metadata
import json
import pathlib
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf

from nann import config, ops, paths
from nann.data_provider import dataset
from nann.delivery import verify
from nann.model.scorer import Items
from nann.retrieval import tensors
from nann.retrieval.retriever import Retriever
from tests.conftest import ROOT, main, run_python
from tests.nann.retrieval import parity_test

# Of the documented request: the entry level, level 1, three hops, and k.
LEVEL_TOPN = np.array([100, 200, 200, 200, 200, 200], np.int32)
ORIGINALS = np.array([100, 200, 400, 400, 400, 200], np.int32)


def command(name: str, *arguments: str) -> str:
  """Runs a command; returns what it prints."""
  done = run_python(f"nann/delivery/{name}.py", *arguments)
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout


def refused(name: str, *arguments: str) -> str:
  """Runs a command that must fail with a sentence."""
  done = run_python(f"nann/delivery/{name}.py", *arguments)
  assert done.returncode == 1
  assert "Traceback" not in done.stderr
  return done.stderr


def trained(original: pathlib.Path, output_root: pathlib.Path) -> pathlib.Path:
  """Lays the original's files out as its documentation has them."""
  for name, folder in (
    ("checkpoint", "model"),
    ("index", "index"),
    ("embeddings", "embeddings"),
  ):
    shutil.copytree(original / name, output_root / folder)
  return output_root


def deliver(output_root: pathlib.Path, model_dir: str, *more: str) -> str:
  """Runs the documented commands after training and index.

  Args:
    output_root: As in the documentation.
    model_dir: Below it, what --model-dir is.
    more: Flags of build_opt_graph.

  Returns:
    What NANN_inference_demo prints.
  """
  root = str(output_root)
  command(
    "convert_meta",
    "--model_dir", f"{root}/{model_dir}",
    "--output_dir", f"{root}/export/converted_model",
  )  # fmt: skip
  command(
    "build_opt_graph",
    "--model-dir", f"{root}/{model_dir}",
    "--index-dir", f"{root}/index",
    "--item-embs-dir", f"{root}/embeddings",
    "--output-dir", f"{root}/export",
    *more,
  )  # fmt: skip
  shown = command(
    "NANN_inference_demo",
    "--graph-file", f"{root}/export/exec.pb",
    "--meta-path", f"{root}/export/exec.meta.pb",
  )  # fmt: skip
  command(
    "pb_to_saved_model",
    "--model-path", f"{root}/export/exec.pb",
    "--meta-path", f"{root}/export/exec.meta.pb",
    "--export-dir", f"{root}/export/nann/1",
  )  # fmt: skip
  return shown


@pytest.fixture(scope="module")
def exported_first(
  original: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
  """The sequence with job export first."""
  root = trained(original, tmp_path_factory.mktemp("exported"))
  main("export", f"--output-root={root}", f"--dataset-dir={original / 'data'}")
  shutil.copytree(root / "export", root / "of_job")
  deliver(root, "export", "--dataset-dir", str(original / "data"))
  return root


@pytest.fixture(scope="module")
def from_model(
  original: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
  """The sequence straight from the model folder, without a data set."""
  root = trained(original, tmp_path_factory.mktemp("model"))
  shown = deliver(root, "model")
  assert "level_topn int32 [6]: 100, 200, 200, 200, 200, 200" in shown
  assert "out top_k int64 [1, 200]" in shown
  return root


@pytest.fixture(scope="module")
def retriever(original: pathlib.Path) -> Retriever:
  return parity_test.load_retriever(
    original, config.SearchSettings.item_state_dtype
  )


@pytest.fixture(scope="module")
def comm_seq(original: pathlib.Path, retriever: Retriever) -> np.ndarray:
  """[20, L * H] float16 of the first test users."""
  histories = dataset.load(original / "data").held_out("test").histories[:20]
  items = Items(
    tf.constant(histories), tf.constant(retriever.category_table[histories])
  )
  embedding = retriever.scorer.history_embedding(items).numpy()
  return embedding.astype(np.float16).reshape(len(histories), -1)


def expected(
  retriever: Retriever, comm_seq: np.ndarray, level_topn: np.ndarray
) -> np.ndarray:
  """Returns [B, k] item ids that the retriever finds."""
  embedding = tf.cast(comm_seq.reshape(len(comm_seq), -1, 64), tf.float32)
  found = retriever.found_by_levels(
    retriever.parts.user_state(None, embedding),
    tensors.PolicyTensors(
      tf.constant(level_topn[:-1][::-1]), tf.constant([3, 1, 1]), None
    ),
    tf.constant(level_topn[-1]),
  )
  return retriever.items.item_ids[found.rows.numpy()]


def forms(root: pathlib.Path) -> list:
  """Opens exec.pb and the SavedModel of an output folder."""
  ops.library()
  export = paths.OutputPaths(root).export
  saved, signatures = verify.open_saved_model(export.version(1))
  return [
    verify.answers_of(verify.open_exec_graph(export), signatures),
    verify.answers_of(saved, signatures),
  ]


@pytest.mark.slow
@pytest.mark.parametrize("sequence", ["exported_first", "from_model"])
def test_both_sequences_answer_as_the_retriever(
  sequence: str,
  retriever: Retriever,
  comm_seq: np.ndarray,
  request: pytest.FixtureRequest,
) -> None:
  root = request.getfixturevalue(sequence)
  for answer in forms(root):
    for level_topn in (LEVEL_TOPN, ORIGINALS):
      wanted = expected(retriever, comm_seq, level_topn)
      for user in range(5):
        got = answer("serving_default")(
          {"comm_seq": comm_seq[user : user + 1], "level_topn": level_topn}
        )
        np.testing.assert_array_equal(got["top_k"][0], wanted[user])


@pytest.mark.slow
def test_answers_are_the_originals(
  from_model: pathlib.Path, original: pathlib.Path, comm_seq: np.ndarray
) -> None:
  answer = forms(from_model)[0]("serving_default")
  got = answer({"comm_seq": comm_seq, "level_topn": ORIGINALS})["top_k"]
  wanted = np.load(original / "retrieval.npz")["ids"][: len(comm_seq)]
  shares = [len(np.intersect1d(*pair)) / 200 for pair in zip(got, wanted)]  # noqa: B905
  # The request's embeddings are float16, the original's own were float32.
  assert np.mean(shares) > 0.99


@pytest.mark.slow
def test_with_the_data_set_the_graph_is_that_of_job_export(
  exported_first: pathlib.Path, original: pathlib.Path
) -> None:
  histories = dataset.load(original / "data").held_out("test").histories[:3]
  ops.library()
  of_job = paths.ExportPaths(exported_first / "of_job")
  saved, signatures = verify.open_saved_model(of_job.version(1))
  wanted = verify.answers_of(saved, signatures)
  for answer in forms(exported_first):
    for signature, more in (
      ("retrieve", {}),
      ("score", {"item_ids": np.arange(1, 31).reshape(3, -1)}),
    ):
      inputs = {"history_item_ids": histories, **more}
      got = answer(signature)(inputs)
      for name, value in wanted(signature)(inputs).items():
        np.testing.assert_array_equal(got[name], value)


@pytest.mark.slow
def test_version_that_is_there_is_replaced_whole(
  exported_first: pathlib.Path,
) -> None:
  versions = paths.OutputPaths(exported_first).export.versions
  assert [path.name for path in versions.iterdir()] == ["1"]
  assert (versions / "1" / paths.WARMUP_REQUESTS).exists()


@pytest.mark.slow
def test_older_form_runs_too(from_model: pathlib.Path) -> None:
  folder = from_model / "export" / "converted_model"
  shown = command(
    "NANN_inference_demo",
    f"--graph-file={folder / 'frozen_graph.pb'}",
    f"--meta-path={folder / '0.meta'}",
  )
  assert "out logits float32 [1, 100]" in shown
  # And the graph is built from where the frozen graph lies.
  command(
    "build_opt_graph",
    f"--model-dir={exported(from_model) / 'converted_model'}",
    f"--index-dir={from_model / 'index'}",
    f"--item-embs-dir={from_model / 'embeddings'}",
    f"--output-dir={from_model / 'again'}",
  )
  for name in ("exec.pb", "exec.pbtxt", "exec.meta.pb", "exec.meta.pbtxt"):
    assert (from_model / "again" / name).stat().st_size > 0


def exported(root: pathlib.Path) -> pathlib.Path:
  """Puts the checkpoint into export/, as job export does."""
  for path in (root / "model").iterdir():
    shutil.copy(path, root / "export")
  return root / "export"


@pytest.mark.slow
def test_files_that_do_not_fit_are_refused(
  from_model: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  export = from_model / "export"
  frozen = export / "converted_model" / "frozen_graph.pb"
  target = tmp_path / "nann" / "1"
  message = refused(
    "pb_to_saved_model",
    f"--model-path={frozen}",
    f"--meta-path={export / 'exec.meta.pb'}",
    f"--export-dir={target}",
  )
  assert "which the graph does not have" in message
  message = refused(
    "pb_to_saved_model",
    f"--model-path={frozen}",
    f"--meta-path={frozen.parent / '0.meta'}",
    f"--export-dir={target}",
  )
  assert "take exec.pb" in message
  message = refused(
    "NANN_inference_demo",
    f"--graph-file={tmp_path / 'exec.pb'}",
    f"--meta-path={export / 'exec.meta.pb'}",
  )
  assert "exec.pb is missing; run --job-type export" in message
  shutil.copy(export / "exec.pb", tmp_path)
  message = refused(
    "pb_to_saved_model",
    f"--model-path={tmp_path / 'exec.pb'}",
    f"--meta-path={export / 'exec.meta.pb'}",
    f"--export-dir={target}",
  )
  assert ".npy is missing" in message
  assert not target.exists()
  (tmp_path / "exec.pb").write_bytes(b"\xff" * 50)
  message = refused(
    "NANN_inference_demo",
    f"--graph-file={tmp_path / 'exec.pb'}",
    f"--meta-path={export / 'exec.meta.pb'}",
  )
  assert "exec.pb is damaged" in message


@pytest.mark.slow
def test_another_data_set_is_refused(
  from_model: pathlib.Path, original: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  data = tmp_path / "data"
  shutil.copytree(original / "data", data)
  items = dict(np.load(data / "ub_items.npz"))
  np.savez(
    data / "ub_items.npz", **{name: x[:4000] for name, x in items.items()}
  )
  meta = json.loads((data / "ub_meta.json").read_text())
  meta = {key: 4000 if x == 5000 else x for key, x in meta.items()}
  (data / "ub_meta.json").write_text(json.dumps(meta))
  message = refused(
    "build_opt_graph",
    f"--model-dir={from_model / 'model'}",
    f"--index-dir={from_model / 'index'}",
    f"--item-embs-dir={from_model / 'embeddings'}",
    f"--output-dir={tmp_path / 'export'}",
    f"--dataset-dir={data}",
  )
  assert "has 4,000 items, the model 5,000" in message
  assert not (tmp_path / "export" / "exec.pb").exists()


def test_commands_find_their_own_help() -> None:
  for name in (
    "convert_meta",
    "build_opt_graph",
    "NANN_inference_demo",
    "pb_to_saved_model",
  ):
    done = run_python(f"nann/delivery/{name}.py", "--help")
    assert done.returncode == 0, done.stderr
    assert "SYNOPSIS" in done.stdout


def test_modules_beside_commands_hide_no_other() -> None:
  # A command's folder comes first where Python looks for modules.
  taken = set(importlib.metadata.packages_distributions())
  taken |= sys.stdlib_module_names
  for folder in ("nann/delivery", "nann/data_provider"):
    names = {path.stem for path in (ROOT / folder).glob("*.py")}
    assert not (names - {"__init__"}) & taken
