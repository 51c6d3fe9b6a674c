"""Job generate_log: synthetic behavior -> a csv in the UserBehavior schema."""

import pathlib
import time

from nann import config, console
from nann.jobs import synthetic_log


def run(settings: config.Config) -> None:
  """Runs the job."""
  begin = time.monotonic()
  path = pathlib.Path(settings.data.synthetic_log)
  num_rows = synthetic_log.write(settings.data, path, settings.run.seed)
  seconds = time.monotonic() - begin
  console.say(
    f"{num_rows:,} rows, {path.stat().st_size / 1e6:,.1f} MB in {seconds:.1f} s"
    f" ({num_rows / seconds:,.0f} rows/s) -> {path}"
  )
