"""Job serve: answers requests with exported versions until told to stop."""

import pathlib
import signal
import threading

from nann import config, paths
from nann.serving import system
from nann.serving.server import Server


def run(settings: config.Config) -> None:
  """Runs the job until SIGTERM or SIGINT, then drains."""
  given = settings.serve.model_base_path
  base_path = (
    pathlib.Path(given)
    if given
    else paths.OutputPaths(
      pathlib.Path(settings.paths.output_root)
    ).export.versions
  )
  server = Server(base_path, settings.serve)
  is_over = threading.Event()
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: is_over.set())
  # Only here, where the process serves and does nothing else.
  system.prepare_to_serve()
  server.start()
  is_over.wait()
  server.stop()
