"""Writes synthetic behavior for the jobs that need a log."""

import pathlib

from nann import config, console
from nann.data_provider import synthetic, synthetic_statistics


def write(data: config.DataSettings, path: pathlib.Path, seed: int) -> int:
  """Writes the synthetic log and says how like the real one it is.

  Args:
    data: How many users, items and categories.
    path: The csv.
    seed: Of all that is drawn.

  Returns:
    The number of rows.
  """
  log = synthetic.SyntheticLog(
    data.synthetic_users,
    data.synthetic_items,
    data.synthetic_categories,
    seed,
  )
  console.table(
    "Synthetic behavior against the head of the real UserBehavior file",
    ["statistic", "synthetic", "real"],
    [
      (name, f"{ours:.3g}", f"{real:.3g}")
      for name, (ours, real) in synthetic_statistics.compare_with_taobao(
        log
      ).items()
    ],
  )
  with console.progress(log.num_users, "user", "generating") as bar:
    return synthetic.write_log(
      log, path, lambda users, rows: bar.update(users - bar.n)
    )
