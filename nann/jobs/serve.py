"""Job serve: answers requests with exported versions until told to stop.

With --shards it holds no items: it asks the servers of the shards.
"""

import pathlib
import signal
import tempfile
import threading

from nann import config, paths
from nann.serving import shards, system
from nann.serving.server import Server


def run(settings: config.Config) -> None:
  """Runs the job until SIGTERM or SIGINT, then drains."""
  if settings.run.shards:
    with tempfile.TemporaryDirectory() as name:
      _serve(_router(settings, pathlib.Path(name)))
    return
  given = settings.serve.model_base_path
  base_path = (
    pathlib.Path(given)
    if given
    else paths.OutputPaths(
      pathlib.Path(settings.paths.output_root)
    ).export.versions
  )
  _serve(Server(base_path, settings.serve))


def _router(settings: config.Config, folder: pathlib.Path) -> Server:
  """Returns a server over the servers of the shards."""
  shards.make_base_path(folder)
  return Server(
    folder,
    settings.serve,
    lambda _, version: shards.ShardedModel(
      settings.run.shards, settings.serve, version
    ),
  )


def _serve(server: Server) -> None:
  is_over = threading.Event()
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: is_over.set())
  # Only here, where the process serves and does nothing else.
  system.prepare_to_serve()
  server.start()
  is_over.wait()
  server.stop()
