"""Training batches alone: how fast the input of a training is.

No step is made of them, so that this is the rate above which nothing waits for
its input. Sequences are read as the training reads them.
"""

import pathlib
import time

import harness

from nann.data_provider import dataset


def main() -> None:
  """Runs the benchmark."""
  parser = harness.parser(__doc__ or "")
  parser.add_argument("--dataset-dir", required=True)
  parser.add_argument("--batch-size", type=int, default=800)
  parser.add_argument("--batches", type=int, default=500)
  arguments = parser.parse_args()
  begin = time.perf_counter()
  data = dataset.load(pathlib.Path(arguments.dataset_dir))
  plan = data.training_data(arguments.batch_size, 100, seed=0)
  numbers = (number for part in plan.batches() for number in part)
  next(numbers)
  first_batch_s = time.perf_counter() - begin
  begin = time.perf_counter()
  count = sum(
    1 for _, _ in zip(range(arguments.batches), numbers, strict=False)
  )
  seconds = time.perf_counter() - begin
  harness.report(
    f"training input, batches of {arguments.batch_size}",
    {
      "samples": count * arguments.batch_size,
      "first_batch_s": first_batch_s,
      "samples_per_s": count * arguments.batch_size / seconds,
    },
    arguments.json,
  )


if __name__ == "__main__":
  main()
