"""Job test_all: recall of exact scoring over all items (recall-all)."""

from nann import config, console, files, pictures
from nann.jobs import measuring


def run(settings: config.Config) -> None:
  """Runs the job."""
  bench = measuring.set_up(settings, with_index=False)
  ks = measuring.clamped(settings.evaluation.topk_eval, bench.num_items)
  item_ids = measuring.exact_answers(bench, len(bench.held_out), max(ks))
  answers = {"exact scoring": item_ids}
  if settings.evaluation.baselines:
    answers |= measuring.baseline_answers(bench, max(ks))
  recalls = measuring.recalls_of(bench, answers, ks)
  measuring.print_recalls(recalls)
  metrics_dir = bench.output.metrics
  files.save_json(
    metrics_dir / "test_all.json",
    {
      "num_users": len(bench.held_out),
      "num_items": bench.num_items,
      "recall": recalls,
    },
  )
  pictures.save(
    pictures.recall_bars(recalls, max(ks)), metrics_dir / "test_all.png"
  )
  console.say(f"results in {metrics_dir / 'test_all.json'}")
