"""Shards of the items, each served by a process, and one that asks them all."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from nann import files, paths
from nann.data_provider import dataset
from nann.index import storage
from nann.serving import merging
from nann.serving.client import Client
from nann.serving.errors import ServingError
from tests.conftest import ROOT, Run, main

pytestmark = pytest.mark.slow

K = 20
_QUIET = ("--port=0", "--rest-port=-1", "--noaccess-log")


@contextlib.contextmanager
def served(*flags: str) -> Iterator[tuple[subprocess.Popen, str]]:
  """Serves until the block ends; yields the process and its address."""
  server = subprocess.Popen(
    [sys.executable, "main.py", "--job-type=serve", *_QUIET, *flags],
    cwd=ROOT,
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    stderr=subprocess.PIPE,
    text=True,
  )
  assert server.stderr is not None
  lines = []
  for line in server.stderr:
    lines.append(line)
    if found := re.search(r"gRPC at (127\.0\.0\.1:\d+)", line):
      break
  else:
    raise AssertionError("".join(lines))
  try:
    yield server, found[1]
  finally:
    server.send_signal(signal.SIGCONT)
    server.kill()
    server.communicate()


@pytest.fixture(scope="module")
def output(
  small_run: Run, tmp_path_factory: pytest.TempPathFactory
) -> paths.OutputPaths:
  """The small run exported whole and in two shards; answers are exact."""
  root = tmp_path_factory.mktemp("shards") / "output"
  shutil.copytree(small_run.output_root, root)
  flags = (
    f"--dataset-dir={small_run.dataset_dir}",
    f"--output-root={root}",
    f"--topk-eval={K}",
    "--search-mode=scan",
    "--num-proof-users=5",
  )
  main("build_index", *flags, "--shards=2", "--hnsw-num-neighbors=4")
  main("export", *flags)
  main("export", *flags, "--shards=2")
  return paths.OutputPaths(root)


@pytest.fixture(scope="module")
def histories(small_run: Run) -> np.ndarray:
  """[n, L] raw item ids of test users."""
  data = dataset.load(small_run.dataset_dir)
  found = data.held_out("test").histories
  raw = data.catalogue.to_raw_item_ids(np.maximum(found, 1))
  return np.where(found > 0, raw, 0)


def test_shards_share_the_items_and_the_popular_ones(
  output: paths.OutputPaths,
) -> None:
  all_ids = np.load(output.item_ids)
  for index in range(2):
    part = output.shard(index, 2)
    np.testing.assert_array_equal(np.load(part.item_ids), all_ids[index::2])
    graph, content = storage.load(part.index)
    assert graph.num_rows == len(all_ids[index::2])
    assert content["facts"]["num_items"] == graph.num_rows
    manifest = files.load_json(part.embeddings / "manifest.json", "")
    assert manifest["facts"]["shard"] == index


def test_merged_answers_are_those_of_all_items_together(
  small_run: Run, output: paths.OutputPaths, histories: np.ndarray
) -> None:
  catalogue = dataset.load(small_run.dataset_dir).catalogue
  with contextlib.ExitStack() as stack:

    def serve(*flags: str) -> tuple[subprocess.Popen, Client]:
      server, address = stack.enter_context(served(*flags))
      client = stack.enter_context(Client(address, timeout_s=30.0))
      addresses.append(address)
      return server, client

    addresses: list[str] = []
    shards = [
      serve(f"--model-base-path={output.shard(index, 2).export.versions}")[0]
      for index in range(2)
    ]
    hosts = ",".join(addresses)
    late = "--shard-timeout-ms=3000"
    _, partial = serve(f"--shards={hosts}", late)
    _, strict = serve(f"--shards={hosts}", late, "--shard-policy=all")
    _, whole = serve(f"--model-base-path={output.export.versions}")

    wanted = whole.retrieve(histories)
    for client in (partial, strict):
      found = client.retrieve(histories)
      np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-5)
      same = np.mean(found.item_ids == wanted.item_ids)
      assert same > 0.99  # Equal scores may change places.
      np.testing.assert_array_equal(found.num_unknown, wanted.num_unknown)
      np.testing.assert_array_equal(found.num_scored, wanted.num_scored)
    np.testing.assert_allclose(
      partial.score(histories, wanted.item_ids), wanted.scores, atol=1e-5
    )
    excluded = wanted.item_ids[:, :3]
    without = partial.retrieve(histories, excluded_items=excluded)
    for user in range(len(histories)):
      assert not np.isin(without.item_ids[user], excluded[user]).any()

    # A shard that is late: the others' answers, and that they are not all.
    # All its threads stand still only when the system says so.
    shards[1].send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, shards[1].pid, os.WSTOPPED)
    inputs = {"history_item_ids": histories}
    outputs = partial.predict("retrieve", inputs).outputs
    assert (outputs[merging.NUM_SHARDS] == 1).all()
    item_ids = np.load(output.shard(0, 2).item_ids)
    of_shard = catalogue.to_raw_item_ids(item_ids)
    assert np.isin(outputs["item_ids"], [*of_shard, 0]).all()
    with pytest.raises(ServingError, match=f"shard {addresses[1]}"):
      strict.predict("retrieve", inputs)
    shards[1].send_signal(signal.SIGCONT)
    outputs = partial.predict("retrieve", inputs).outputs
    assert (outputs[merging.NUM_SHARDS] == 2).all()

    # One that is gone, and all of them.
    shards[1].kill()
    outputs = partial.predict("retrieve", inputs).outputs
    assert (outputs[merging.NUM_SHARDS] == 1).all()
    shards[0].kill()
    with pytest.raises(ServingError, match="none of 2 shards"):
      partial.predict("retrieve", inputs)


def test_ties_go_to_the_first_shard_and_missing_items_come_last() -> None:
  def answer(item_ids: list[int], scores: list[float]) -> dict:
    return {
      "item_ids": np.array([item_ids]),
      "scores": np.array([scores], np.float32),
      "num_scored": np.array([3], np.int32),
      "num_unknown": np.array([1], np.int32),
    }

  found = merging.best_of(
    [answer([5, 7, 0], [2.0, 1.0, -np.inf]), answer([6, 8, 9], [2.0, 1.0, 0.5])]
  )
  assert found["item_ids"].tolist() == [[5, 6, 7]]
  assert found["num_scored"].tolist() == [6]
  assert found["num_unknown"].tolist() == [1]
  assert found[merging.NUM_SHARDS].tolist() == [2]
