"""Which versions of a model are served: the newest, and those with a label.

A new version is loaded and warmed up beside the old one, then requests go to
the new one, and the old one is freed when its last request has ended. A version
that cannot be loaded is left out, with the reason in its status, until its
files change; the others go on.
"""

import contextlib
import dataclasses
import pathlib
import threading
from collections.abc import Callable, Iterator, Mapping

from nann.serving import errors
from nann.serving.model import Model
from nann.serving.system import free_unused_memory, yield_to_requests

# A version's number in the protocol.
_LARGEST = 2**63 - 1
_NO_REASON = ""

# Of a file: path, size, time of change, number on the disk.
Fingerprint = tuple[tuple[str, int, int, int], ...]
Load = Callable[[pathlib.Path, int], Model]
Tell = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class VersionStatus:
  """What GetModelStatus says of a version.

  Attributes:
    version: Its number.
    state: START, LOADING, AVAILABLE, UNLOADING or END.
    reason: Why it is not served; empty if nothing is wrong.
  """

  version: int
  state: str
  reason: str = _NO_REASON


@dataclasses.dataclass
class _Loaded:
  """A version in memory, and the number of requests that use it."""

  model: Model
  num_users: int = 0


@dataclasses.dataclass(frozen=True)
class _Refused:
  reason: str
  fingerprint: Fingerprint


def load_and_warm_up(folder: pathlib.Path, version: int) -> Model:
  """Loads a version so that its first request is as fast as others.

  Raises:
    ValueError: It cannot be loaded, or fails its warm-up requests.
  """
  model = Model(folder, version)
  try:
    model.warm_up()
  except ValueError:
    model.close()
    raise
  return model


class Versions:
  """Keeps the wanted versions of a base path in memory."""

  def __init__(
    self,
    base_path: pathlib.Path,
    labels: Mapping[str, int],
    tell: Tell,
    load: Load = load_and_warm_up,
  ) -> None:
    """Looks at nothing yet; see `refresh`.

    Args:
      base_path: Holds a folder for each version, named by its number.
      labels: Versions to keep beside the newest one, by label.
      tell: Called with a line about each change.
      load: Makes a model of a folder.
    """
    self.base_path = base_path
    self.labels = dict(labels)
    # Called when other versions answer than before.
    self.on_change: Callable[[], None] = lambda: None
    self._tell = tell
    self._load = load
    self._changed = threading.Condition()
    self._loaded: dict[int, _Loaded] = {}
    self._states: dict[int, str] = {}
    self._refused: dict[int, _Refused] = {}
    self._current: int | None = None
    self._refreshing = threading.Lock()

  @property
  def current(self) -> int | None:
    """The version that answers if none is asked for; None: there is none."""
    return self._current

  def models(self) -> dict[int, Model]:
    """Returns the versions that may be asked for."""
    with self._changed:
      return {number: loaded.model for number, loaded in self._loaded.items()}

  def statuses(self) -> list[VersionStatus]:
    """Returns all known versions, newest first."""
    with self._changed:
      found = [
        VersionStatus(number, state) for number, state in self._states.items()
      ]
      found += [
        VersionStatus(number, "END", refused.reason)
        for number, refused in self._refused.items()
        if number not in self._states
      ]
    return sorted(found, key=lambda status: -status.version)

  @contextlib.contextmanager
  def use(
    self, version: int | None = None, label: str | None = None
  ) -> Iterator[Model]:
    """Lends a model; it stays in memory as long as the block runs.

    Raises:
      ServingError: There is no such version or label, or none at all.
    """
    with self._changed:
      number = self._number(version, label)
      loaded = self._loaded[number]
      loaded.num_users += 1
    try:
      yield loaded.model
    finally:
      with self._changed:
        loaded.num_users -= 1
        if loaded.num_users == 0 and number not in self._loaded:
          self._changed.notify_all()

  def _number(self, version: int | None, label: str | None) -> int:
    if label is not None:
      if label not in self.labels:
        raise errors.not_found(f"there is no version label {label[:80]!r}")
      version = self.labels[label]
    elif version is None:
      version = self._current
      if version is None:
        raise errors.ServingError(
          errors.Code.UNAVAILABLE, "no version has been loaded yet"
        )
    if version not in self._loaded:
      loaded = ", ".join(str(x) for x in sorted(self._loaded)) or "none"
      raise errors.not_found(
        f"version {version} is not loaded; loaded: {loaded}"
      )
    return version

  def refresh(self) -> None:
    """Looks at the base path once and loads and frees what has changed."""
    with self._refreshing:
      folders = self._folders()
      newest = self._newest(folders)
      for label, number in self.labels.items():
        if number in folders and not self._make_loaded(number, folders[number]):
          self._tell(f"label {label} stands for version {number}, see above")
      if newest is not None and newest != self._current:
        self._tell(
          f"version {newest} answers"
          + ("" if self._current is None else f", {self._current} did before")
        )
        self._current = newest
      self.on_change()
      self._free_unwanted(folders)

  def _folders(self) -> dict[int, pathlib.Path]:
    """Returns the folders of versions; an unreadable base path has none."""
    try:
      found = list(self.base_path.iterdir())
    except OSError:
      return {}
    return {
      int(path.name): path
      for path in found
      if path.name.isascii()
      and path.name.isdigit()
      and int(path.name) <= _LARGEST
      and path.is_dir()
    }

  def _newest(self, folders: dict[int, pathlib.Path]) -> int | None:
    """Loads and returns the newest version that can be served."""
    for number in sorted(folders, reverse=True):
      if self._make_loaded(number, folders[number]):
        return number
    return self._current

  def _make_loaded(self, number: int, folder: pathlib.Path) -> bool:
    """Loads a version unless it is loaded, or is known to be broken."""
    if number in self._loaded:
      return True
    fingerprint = _fingerprint(folder)
    known = self._refused.get(number)
    if known is not None and known.fingerprint == fingerprint:
      return False
    self._set_state(number, "LOADING")
    try:
      model = self._load(folder, number)
    except Exception as error:
      # Whatever is wrong with a version, the others are served.
      reason = errors.first_sentence(str(error) or type(error).__name__)
      with self._changed:
        self._refused[number] = _Refused(reason, fingerprint)
      self._set_state(number, None)
      self._tell(f"version {number} is refused: {reason}")
      return False
    with self._changed:
      self._loaded[number] = _Loaded(model)
      self._refused.pop(number, None)
    self._set_state(number, "AVAILABLE")
    self._tell(f"version {number} is loaded")
    return True

  def _set_state(self, number: int, state: str | None) -> None:
    with self._changed:
      if state is None:
        self._states.pop(number, None)
      else:
        self._states[number] = state

  def _free_unwanted(self, folders: Mapping[int, pathlib.Path]) -> None:
    """Frees versions that are neither the newest nor labelled."""
    wanted = {self._current, *self.labels.values()}
    for number in [x for x in self._loaded if x not in wanted]:
      self._free(number)
    with self._changed:
      # What is gone from the disk is no news any more.
      for number in [x for x in self._refused if x not in folders]:
        del self._refused[number]

  def _free(self, number: int) -> None:
    self._set_state(number, "UNLOADING")
    with self._changed:
      unwanted = self._loaded.pop(number)
    self.on_change()
    with self._changed:
      while unwanted.num_users > 0:
        self._changed.wait()
    unwanted.model.close()
    del unwanted
    free_unused_memory()
    self._set_state(number, None)
    self._tell(f"version {number} is unloaded")

  def close(self) -> None:
    """Frees all versions, when their requests have ended."""
    with self._refreshing:
      self._current = None
      for number in list(self._loaded):
        self._free(number)


def _fingerprint(folder: pathlib.Path) -> Fingerprint:
  """Returns what changes when any file of a folder does."""
  found = []
  for path in sorted(folder.rglob("*")):
    with contextlib.suppress(OSError):
      stat = path.stat()
      found.append((str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino))
  return tuple(found)


class Poller:
  """Refreshes versions every so often, in a thread of its own."""

  def __init__(self, versions: Versions, interval_s: float, tell: Tell) -> None:
    self._versions = versions
    self._interval_s = interval_s
    self._tell = tell
    self._is_over = threading.Event()
    self._thread = threading.Thread(
      target=self._run, name="versions", daemon=True
    )

  def start(self) -> None:
    self._thread.start()

  def _run(self) -> None:
    # Loading and warming up take long, and nobody waits for them.
    yield_to_requests()
    while not self._is_over.wait(self._interval_s):
      try:
        self._versions.refresh()
      except Exception as error:
        # A disk that fails now may answer at the next look.
        self._tell(f"looking for versions failed: {error}")

  def stop(self) -> None:
    """Returns when no refresh runs any more."""
    self._is_over.set()
    self._thread.join()
