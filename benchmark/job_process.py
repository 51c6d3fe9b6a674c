"""Runs a command and says what it took: time, memory of it and its children.

Memory is what Linux counts as resident, summed over the processes, looked at
every twentieth of a second. Pages that several of them map count for each.
"""

import dataclasses
import os
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

_ROOT = pathlib.Path(__file__).parent.parent
_PAUSE_S = 0.05
_TAIL_LINES = 15


@dataclasses.dataclass(frozen=True)
class Line:
  """What a command has printed.

  Attributes:
    seconds: When, from its start.
    text: The line.
  """

  seconds: float
  text: str


@dataclasses.dataclass(frozen=True)
class Finished:
  """A command that has ended well.

  Attributes:
    seconds: Start of the interpreter included.
    peak_bytes: Most resident memory of the process and its descendants; pages
      of files, which processes share, count once: as many as that process has
      that has most of them.
    peak_own_bytes: The same without pages of files.
    processor_s: Processor time of both.
    lines: What it printed.
  """

  seconds: float
  peak_bytes: int
  peak_own_bytes: int
  processor_s: float
  lines: tuple[Line, ...]


def run(command: Sequence[str]) -> Finished:
  """Runs a command in the repository root.

  Raises:
    ValueError: It failed; the end of its output.
  """
  before = os.times()
  begin = time.perf_counter()
  process = subprocess.Popen(
    command,
    cwd=_ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    errors="replace",
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
  )
  watch = _Watch(process.pid)
  assert process.stdout is not None
  lines = tuple(
    Line(time.perf_counter() - begin, text.rstrip("\n"))
    for text in process.stdout
  )
  status = process.wait()
  seconds = time.perf_counter() - begin
  watch.stop()
  if status:
    tail = "\n".join(line.text for line in lines[-_TAIL_LINES:])
    raise ValueError(f"{' '.join(command)} ended with {status}:\n{tail}")
  after = os.times()
  used = after.children_user - before.children_user
  used += after.children_system - before.children_system
  return Finished(seconds, watch.peak_bytes, watch.peak_own_bytes, used, lines)


def job(job_type: str, *flags: str) -> list[str]:
  """Returns the command of a job."""
  return [sys.executable, "main.py", f"--job-type={job_type}", *flags]


class _Watch:
  """Looks at the memory of a process until it is told to stop.

  Attributes:
    peak_bytes: As `Finished` has it.
    peak_own_bytes: Likewise.
  """

  def __init__(self, pid: int) -> None:
    self._pid = pid
    self.peak_bytes = self.peak_own_bytes = 0
    self._is_over = threading.Event()
    self._thread = threading.Thread(target=self._look, daemon=True)
    self._thread.start()

  def _look(self) -> None:
    while not self._is_over.wait(_PAUSE_S):
      own, of_files = _own_and_file_bytes(self._pid)
      self.peak_own_bytes = max(self.peak_own_bytes, own)
      self.peak_bytes = max(self.peak_bytes, own + of_files)

  def stop(self) -> None:
    self._is_over.set()
    self._thread.join()


def _own_and_file_bytes(pid: int) -> tuple[int, int]:
  """Returns the memory of a process and all its descendants, see `Finished`."""
  folder = pathlib.Path(f"/proc/{pid}")
  try:
    _, resident, shared, *_ = map(int, (folder / "statm").read_text().split())
    children = [
      int(child)
      for task in (folder / "task").iterdir()
      for child in (task / "children").read_text().split()
    ]
  except (OSError, ValueError):
    return 0, 0  # It has ended.
  page = os.sysconf("SC_PAGE_SIZE")
  own, of_files = (resident - shared) * page, shared * page
  for own_of_child, files_of_child in map(_own_and_file_bytes, children):
    own += own_of_child
    of_files = max(of_files, files_of_child)
  return own, of_files
