"""The parts of `make bench`: which benchmark, with which flags, and why."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Section:
  """A benchmark that is run for the page.

  Attributes:
    name: Of its JSON.
    script: Below benchmark/.
    flags: Of the whole run.
    quick: In place of them where the page is only tried out.
    needs_checkins: It takes a log that does not come with the repository.
  """

  name: str
  script: str
  flags: Sequence[str] = ()
  quick: Sequence[str] = ()
  needs_checkins: bool = False


# A world in which everything can be tried in a few minutes.
_TINY_ITEMS = ("--items=2000", "--train-steps=20")
_TINY = (*_TINY_ITEMS, "--scorer=attention")
# The original's network, whose cost is told apart from that of the search.
_TRAINED = (
  "--items=50000",
  "--scorer=attention",
  "--adv-eps=3e-5",
  "--train-steps=1000",
)
# What one would use.
_RECIPE = (
  "--scorer=nann_plus",
  "--adv-eps=0",
  "--train-epochs=20",
  "--num-validations=2",
)
_SYNTHETIC = ("--items=50000", *_RECIPE, "--train-steps=400")
_CHECKINS = ("--train-min-length=3", *_RECIPE, "--train-steps=600")

SECTIONS = (
  Section(
    "data",
    "prepare_data.py",
    ("--repeats=3",),
    ("--rows=300000", "--repeats=1"),
  ),
  Section(
    "training",
    "train_throughput.py",
    (),
    ("--items=5000", "--batch-size=32", "--num-neg=10", "--steps=2"),
  ),
  Section(
    "neural",
    "search_neural.py",
    _TRAINED,
    (*_TINY, "--num-users=10", "--repeats=1", "--k=50"),
  ),
  Section(
    "recall_synthetic",
    "recall_latency.py",
    _SYNTHETIC,
    (*_TINY_ITEMS, *_RECIPE, "--num-users=20", "--repeats=1", "--k=50"),
  ),
  Section(
    "recall_checkins", "recall_latency.py", _CHECKINS, (), needs_checkins=True
  ),
  Section(
    "policies_synthetic",
    "search_policies.py",
    (*_TRAINED, "--num-users=200"),
    (*_TINY, "--num-users=10", "--k=50"),
  ),
  Section(
    "scaling",
    "search_scaling.py",
    _TRAINED,
    (*_TINY, "--sizes=1000,4000", "--num-users=10", "--repeats=1", "--k=50"),
  ),
  Section(
    "metric",
    "search_metric.py",
    ("--num-queries=500", "--repeats=3"),
    ("--num-vectors=3000", "--num-queries=50", "--repeats=1"),
  ),
  Section(
    "metric_10",
    "search_metric.py",
    ("--k=10", "--num-queries=500", "--repeats=3"),
    ("--k=10", "--num-vectors=3000", "--num-queries=50", "--repeats=1"),
  ),
  Section(
    "serving",
    "serving_clients.py",
    _TRAINED,
    (*_TINY, "--turns=1", "--seconds=0.3"),
  ),
)
