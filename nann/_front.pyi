"""Types of the compiled server of gRPC; see ops/front."""

class Front:
  def __init__(
    self,
    service: int,
    address: str,
    python_address: str,
    max_message_bytes: int,
    max_calls: int,
    certificate: bytes,
    key: bytes,
    client_authority: bytes,
  ) -> None: ...
  def start(self) -> int: ...
  def stop(self, seconds: float) -> None: ...
