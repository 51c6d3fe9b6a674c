"""Versions that change while requests come: nothing fails, nothing mixes."""

import pathlib
import shutil
import threading
from collections.abc import Callable

import pytest

from tests.nann.serving import small_export
from tests.nann.serving.conftest import (
  TIMEOUT_S,
  Running,
  predict_request,
  running_server,
  values,
)
from tests.nann.serving.waiting import wait_until


class Load:
  """Threads that ask for the same user until they are stopped."""

  def __init__(self, running: Running, num_threads: int) -> None:
    self._running = running
    self._is_over = threading.Event()
    self.versions: list[int] = []
    self.faults: list[str] = []
    self._threads = [
      threading.Thread(target=self._ask) for _ in range(num_threads)
    ]

  def __enter__(self) -> "Load":
    for thread in self._threads:
      thread.start()
    return self

  def __exit__(self, *_: object) -> None:
    self._is_over.set()
    for thread in self._threads:
      thread.join()

  def _ask(self) -> None:
    while not self._is_over.is_set():
      try:
        self._ask_once()
      except Exception as error:
        self.faults.append(str(error))

  def _ask_once(self) -> None:
    response = self._running.predict(history_item_ids=small_export.history(9))
    version = response.model_spec.version.value
    # The score of the best item is the version that computed it.
    scores = values(response, "scores")[0].tolist()
    if scores != small_export.expected(9, version).scores:
      self.faults.append(f"version {version} answered {scores}")
    self.versions.append(version)


def swap_often(
  base_path: pathlib.Path, num_swaps: int, after_swap: Callable[[], None]
) -> None:
  small_export.publish(base_path, 1)
  with running_server(base_path) as running, Load(running, 2) as load:
    for version in range(2, num_swaps + 2):
      small_export.publish(base_path, version)
      shutil.rmtree(base_path / str(version - 1))
      running.server.versions.refresh()
      after_swap()
      assert running.server.versions.current == version
  assert load.faults == []
  assert set(load.versions) >= {1, num_swaps + 1}


def test_swaps_under_load_lose_and_mix_nothing(tmp_path: pathlib.Path) -> None:
  swap_often(tmp_path / "nann", 3, lambda: None)


def test_server_notices_a_new_version_itself(tmp_path: pathlib.Path) -> None:
  base_path = tmp_path / "nann"
  small_export.publish(base_path, 1)
  with running_server(base_path, poll_interval_s=0.01) as running:
    small_export.publish(base_path, 2)
    wait_until(lambda: running.server.versions.current == 2)
    response = running.predict(history_item_ids=small_export.history(9))
    assert response.model_spec.version.value == 2


def test_labels_lead_to_their_versions(tmp_path: pathlib.Path) -> None:
  base_path = tmp_path / "nann"
  for version in (1, 2, 3):
    small_export.publish(base_path, version)
  with running_server(base_path, version_labels=("stable=1",)) as running:
    request = predict_request(
      "retrieve", history_item_ids=small_export.history(9)
    )
    request.model_spec.version_label = "stable"
    response = running.prediction.Predict(request, timeout=TIMEOUT_S)
    assert response.model_spec.version.value == 1
    found = running.rest.post(
      "/v1/models/nann/labels/stable:predict",
      json={
        "signature_name": "score",
        "inputs": {"history_item_ids": [[9]], "item_ids": [[9]]},
      },
    )
    # The score of the newest item is the version.
    assert found.json() == {"outputs": [[1.0]]}
    newest = running.predict(history_item_ids=small_export.history(9))
    assert newest.model_spec.version.value == 3


def resident_bytes() -> int:
  status = pathlib.Path("/proc/self/status").read_text()
  line = next(x for x in status.splitlines() if x.startswith("VmRSS"))
  return int(line.split()[1]) << 10


@pytest.mark.soak
def test_many_swaps_leave_no_memory_behind(tmp_path: pathlib.Path) -> None:
  sizes: list[int] = []
  swap_often(tmp_path / "nann", 60, lambda: sizes.append(resident_bytes()))
  # The first swaps fill the pools of the allocator.
  assert max(sizes[-10:]) <= 1.05 * max(sizes[5:20])
