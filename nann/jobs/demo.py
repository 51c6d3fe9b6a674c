"""Job demo: the whole path on synthetic data, ending with a page.

The only job that runs others.
"""

import json
import pathlib
import time

import numpy as np

from nann import config, console, files, paths, report
from nann.data_provider import dataset
from nann.jobs import (
  build_index,
  export,
  extract_feature,
  measuring,
  prepare_data,
  test,
  train,
  tune,
)
from nann.retrieval import answering
from nann.retrieval import result as results

_NUM_STORIES = 5
_COMMAND = "python main.py --job-type demo"


def run(settings: config.Config) -> None:
  """Runs the job."""
  begin = time.monotonic()
  output = paths.OutputPaths(pathlib.Path(settings.paths.output_root))
  for number, (job, title) in enumerate(
    (
      (prepare_data, "a behavior log becomes records"),
      (train, "the scorer learns"),
      (extract_feature, "items become embeddings"),
      (build_index, "embeddings become a graph"),
      (tune, "the search is tuned"),
      (test, "the search is measured"),
      (export, "the model is made ready to serve"),
    ),
    start=1,
  ):
    console.say(f"--- {number} of 7: {title}")
    job.run(settings)
  _write_report(settings, output)
  console.say(f"done in {console.duration(time.monotonic() - begin)}")
  console.say(f"look at {output.report.resolve()}")


def _write_report(settings: config.Config, output: paths.OutputPaths) -> None:
  data = dataset.load(pathlib.Path(settings.paths.dataset_dir))
  log = output.training_log.read_text().splitlines()
  raw_item_ids = data.catalogue.to_raw_item_ids(
    np.arange(1, data.catalogue.num_items + 1)
  )
  report.write_report(
    output.report,
    settings,
    _COMMAND,
    files.load_json(output.metrics / "test.json", "test"),
    [json.loads(line) for line in log],
    _stories(settings),
    raw_item_ids,
    data.catalogue.category_table(),
  )


def _stories(settings: config.Config) -> list[report.UserStory]:
  """Returns the first test users with what the search finds for them."""
  bench = measuring.set_up(settings, with_index=True)
  assert bench.plan is not None
  held_out = bench.held_out.first(_NUM_STORIES)
  k = max(measuring.clamped(settings.evaluation.topk_eval, bench.num_items))
  answers = results.concatenate(
    list(answering.answer(bench.retriever, bench.plan, held_out.histories, k))
  )
  return [
    report.UserStory(
      name=user_id.decode(),
      history=[int(item) for item in history if item],
      found=[int(item) for item in found if item],
      target=int(target),
    )
    for user_id, history, found, target in zip(
      held_out.user_ids,
      held_out.histories,
      bench.to_item_ids(answers.rows),
      held_out.targets,
      strict=True,
    )
  ]
