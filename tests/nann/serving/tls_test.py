"""TLS and mutual TLS, on both protocols."""

import datetime
import ipaddress
import pathlib
import ssl
from typing import Any

import grpc
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nann.serving.client import Client
from nann.serving.errors import Code, ServingError
from nann.serving_settings import ServeSettings
from tests.nann.serving import small_export
from tests.nann.serving.conftest import TIMEOUT_S, Running, running_server


class Authority:
  """Signs certificates and writes them as PEM files."""

  def __init__(self, folder: pathlib.Path, name: str) -> None:
    self._folder = folder
    self._key = ec.generate_private_key(ec.SECP256R1())
    self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    self._certificate = self._signed(self._name, self._key, is_authority=True)
    self.file = self._write(f"{name}.pem", self._pem(self._certificate))

  def issue(self, name: str) -> tuple[str, str]:
    """Returns the files of a certificate for 127.0.0.1 and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = self._signed(subject, key, is_authority=False)
    secret = key.private_bytes(
      serialization.Encoding.PEM,
      serialization.PrivateFormat.PKCS8,
      serialization.NoEncryption(),
    )
    return (
      self._write(f"{name}.pem", self._pem(certificate)),
      self._write(f"{name}.key", secret),
    )

  def _signed(
    self, subject: x509.Name, key: Any, is_authority: bool
  ) -> x509.Certificate:
    now = datetime.datetime.now(datetime.timezone.utc)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    return (
      x509.CertificateBuilder()
      .subject_name(subject)
      .issuer_name(self._name)
      .public_key(key.public_key())
      .serial_number(x509.random_serial_number())
      .not_valid_before(now - datetime.timedelta(hours=1))
      .not_valid_after(now + datetime.timedelta(hours=1))
      .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
      .add_extension(x509.SubjectAlternativeName([address]), critical=False)
      .sign(self._key, hashes.SHA256())
    )

  def _pem(self, certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)

  def _write(self, name: str, content: bytes) -> str:
    path = self._folder / name
    path.write_bytes(content)
    return str(path)


@pytest.fixture
def authority(tmp_path: pathlib.Path) -> Authority:
  return Authority(tmp_path, "authority")


def read(path: str | None) -> bytes | None:
  return None if path is None else pathlib.Path(path).read_bytes()


def ask_grpc(
  running: Running, roots: str, pair: tuple[str, str] | None = None
) -> int:
  certificate, key = pair or (None, None)
  credentials = grpc.ssl_channel_credentials(
    read(roots), read(key), read(certificate)
  )
  target = f"127.0.0.1:{running.server.port}"
  with Client(
    target, timeout_s=TIMEOUT_S, max_attempts=1, credentials=credentials
  ) as client:
    return client.retrieve(small_export.history(9)).version


def ask_rest(
  running: Running, roots: str, pair: tuple[str, str] | None = None
) -> int:
  context = ssl.create_default_context(cafile=roots)
  if pair is not None:
    context.load_cert_chain(*pair)
  url = f"https://127.0.0.1:{running.server.rest_port}/v1/models/nann"
  return httpx.get(url, verify=context, timeout=TIMEOUT_S).status_code


def test_tls_is_spoken_on_both_ports(
  exported: pathlib.Path, authority: Authority
) -> None:
  certificate, key = authority.issue("server")
  with running_server(exported, tls_cert=certificate, tls_key=key) as running:
    assert ask_grpc(running, authority.file) == 7
    assert ask_rest(running, authority.file) == 200
    with pytest.raises(grpc.RpcError) as caught:
      running.predict(history_item_ids=small_export.history(9))
    assert caught.value.code() == Code.UNAVAILABLE
    with pytest.raises(httpx.HTTPError):
      running.rest.get("/v1/models/nann")


def test_mutual_tls_wants_a_certificate_of_the_client(
  exported: pathlib.Path, authority: Authority, tmp_path: pathlib.Path
) -> None:
  certificate, key = authority.issue("server")
  other = tmp_path / "other"
  other.mkdir()
  stranger = Authority(other, "stranger").issue("client")
  friend = authority.issue("client")
  with running_server(
    exported, tls_cert=certificate, tls_key=key, tls_client_ca=authority.file
  ) as running:
    assert ask_grpc(running, authority.file, friend) == 7
    assert ask_rest(running, authority.file, friend) == 200
    for pair in (None, stranger):
      with pytest.raises(ServingError) as caught:
        ask_grpc(running, authority.file, pair)
      assert caught.value.code == Code.UNAVAILABLE
      with pytest.raises(httpx.HTTPError):
        ask_rest(running, authority.file, pair)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"tls_cert": "x"}, "--tls-cert and --tls-key are given together"),
    ({"tls_client_ca": "x"}, "--tls-client-ca needs --tls-cert"),
    ({"version_labels": ("stable",)}, "wanted pairs such as stable=3"),
    ({"port": 70000}, "--port is 70000, wanted at most 65535"),
  ],
)
def test_settings_that_do_not_fit_are_refused(
  settings: dict[str, Any], message: str
) -> None:
  with pytest.raises(ValueError, match=message):
    ServeSettings(**settings)


def test_missing_certificate_is_said(exported: pathlib.Path) -> None:
  with (
    pytest.raises(FileNotFoundError, match="nowhere is missing"),
    running_server(exported, tls_cert="/nowhere", tls_key="/nowhere"),
  ):
    pass


def test_taken_port_is_said(running: Running) -> None:
  for ports in (
    {"port": running.server.port},
    {"rest_port": running.server.rest_port},
  ):
    with (
      pytest.raises(ValueError, match=r"cannot listen at 127\.0\.0\.1"),
      running_server(running.base_path, **ports),
    ):
      pass
