"""The settings of job serve."""

import dataclasses

from nann.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class ServeSettings(Settings):
  """How exported versions are served."""

  model_base_path: str = setting(
    "",
    "serve: folder with a folder for each version; <output-root>/export/nann if"
    " not given.",
  )
  model_name: str = setting(
    "nann", "serve: what clients call the model.", nonempty=True
  )
  host: str = setting(
    "127.0.0.1",
    "serve: address to listen at; 0.0.0.0: all of this machine.",
    nonempty=True,
  )
  port: int = setting(
    8500,
    "serve: port of gRPC; 0: a free one, which is said.",
    minimum=0,
    maximum=65535,
  )
  rest_port: int = setting(
    8501,
    "serve: port of REST and of the metrics; 0: a free one, -1: none.",
    minimum=-1,
    maximum=65535,
  )
  front: str = setting(
    "auto",
    "serve: what speaks gRPC. native: C++, faster; python; auto: native where"
    " it was built.",
    choices=("auto", "native", "python"),
  )
  concurrency: int = setting(
    0, "serve: searches that run at a time; 0: one a core.", minimum=0
  )
  max_queue: int = setting(
    0,
    "serve: most requests that may wait; more are refused at once."
    " 0: 64 for each that runs.",
    minimum=0,
  )
  max_wait_ms: float = setting(
    25.0,
    "serve: refuse who would wait longer than this, at the pace of late.",
    above=0.0,
  )
  max_users_per_request: int = setting(
    256, "serve: B, the users of one request.", minimum=1
  )
  max_answers_per_request: int = setting(
    100_000, "serve: B * k of one request, or the pairs to score.", minimum=1
  )
  max_message_mb: int = setting(
    16, "serve: largest request, in MiB.", minimum=1, maximum=1024
  )
  rest_timeout_s: float = setting(
    30.0, "serve: deadline of a REST request, in seconds.", above=0.0
  )
  poll_interval_s: float = setting(
    1.0, "serve: seconds between two looks for a new version.", above=0.0
  )
  drain_s: float = setting(
    30.0,
    "serve: seconds that requests have to end after SIGTERM.",
    minimum=0.0,
  )
  version_labels: tuple[str, ...] = setting(
    (),
    "serve: versions to keep beside the newest one, such as stable=3,canary=4.",
  )
  shard_policy: str = setting(
    "partial",
    "serve --shards: when a shard is late or gone: partial, the others' best"
    " (num_shards says how many answered), or all, an error.",
    choices=("partial", "all"),
  )
  shard_timeout_ms: float = setting(
    200.0,
    "serve --shards: a shard that takes longer is late.",
    above=0.0,
  )
  tls_cert: str = setting("", "serve: file of the server's certificate (PEM).")
  tls_key: str = setting("", "serve: file of its key (PEM).")
  tls_client_ca: str = setting(
    "",
    "serve: certificates that sign clients (PEM); clients must then show one"
    " of theirs (mutual TLS).",
  )
  access_log: bool = setting(
    True, "serve: write a line for each request to stderr."
  )
  log_json: bool = setting(False, "serve: write the log as JSON.")

  def check(self) -> None:
    if bool(self.tls_cert) != bool(self.tls_key):
      raise ValueError("--tls-cert and --tls-key are given together or not")
    if self.tls_client_ca and not self.tls_cert:
      raise ValueError("--tls-client-ca needs --tls-cert and --tls-key")
    self.labels()

  def labels(self) -> dict[str, int]:
    """Returns versions by label. Raises ValueError."""
    found = {}
    for pair in self.version_labels:
      label, _, number = pair.partition("=")
      if not label or not (number.isascii() and number.isdigit()):
        raise ValueError(
          f"--version-labels holds {pair!r}, wanted pairs such as stable=3"
        )
      found[label] = int(number)
    return found
