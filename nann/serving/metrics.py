"""What Prometheus is told: requests, errors, latency, work, queue, version."""

import functools
from collections.abc import Callable

import prometheus_client as prometheus

from nann.serving.admission import Admission
from nann.serving.versions import Versions

_SECONDS = (
  *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03),
  *(0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
)
_SCORED = (
  *(100, 200, 500, 1000, 2000, 3000, 5000, 7500, 10_000, 20_000),
  *(50_000, 100_000, 1_000_000),
)


class Metrics:
  """The figures of one server, in a registry of its own."""

  def __init__(self, versions: Versions, admission: Admission) -> None:
    self.registry = prometheus.CollectorRegistry()
    self._requests = prometheus.Counter(
      "nann_requests",
      "Requests by protocol, signature and status code.",
      ["protocol", "signature", "code"],
      registry=self.registry,
    )
    self._seconds = prometheus.Histogram(
      "nann_request_seconds",
      "Time from the arrival of a request to its answer.",
      ["protocol", "signature"],
      buckets=_SECONDS,
      registry=self.registry,
    )
    self._num_scored = prometheus.Histogram(
      "nann_num_scored",
      "Items scored for a user.",
      ["signature"],
      buckets=_SCORED,
      registry=self.registry,
    )
    self._loads = prometheus.Counter(
      "nann_version_changes",
      "Versions that began to answer.",
      registry=self.registry,
    )
    for name, text, value in (
      ("nann_queue_depth", "Requests waiting.", lambda: admission.num_waiting),
      ("nann_running", "Searches running.", lambda: admission.num_running),
      (
        "nann_model_version",
        "Version that answers; 0: none.",
        lambda: versions.current or 0,
      ),
    ):
      gauge = prometheus.Gauge(name, text, registry=self.registry)
      gauge.set_function(value)
    # Called before the figures are read.
    self.before_page: Callable[[], None] = lambda: None
    # Looking a child up by its labels costs more than counting.
    self._child = functools.lru_cache(1024)(self._requests.labels)
    self._timer = functools.lru_cache(256)(self._seconds.labels)
    self._scored = functools.lru_cache(256)(self._num_scored.labels)

  def count_request(
    self, protocol: str, signature: str, code: str, seconds: float
  ) -> None:
    """Counts a request that has ended.

    Args:
      protocol: grpc or rest.
      signature: One that the model has, or empty.
      code: Such as OK.
      seconds: How long it took.
    """
    self._child(protocol, signature, code).inc()
    if code == "OK":
      self._timer(protocol, signature).observe(seconds)

  def count_scored(self, signature: str, num_scored: list[int]) -> None:
    """Counts the items scored for each user of a request."""
    histogram = self._scored(signature)
    for number in num_scored:
      histogram.observe(number)

  def page(self) -> bytes:
    """Returns the text that Prometheus reads."""
    self.before_page()
    return prometheus.generate_latest(self.registry)
