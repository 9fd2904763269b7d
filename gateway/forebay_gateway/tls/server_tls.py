"""The TLS credentials of the gateway's port: read from files, and again when these change."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate

from forebay_backends.aio.watched_files import WatchedFiles
from forebay_backends.metrics.registry import Figures, Labels
from forebay_backends.settings.identity_settings import TlsSettings
from forebay_gateway.tls.certificates import (
    CertificateError,
    authorities,
    certificates,
    server_certificate,
)

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""The cipher suites for TLS 1.2: with forward secrecy, and allowed in HTTP/2, as in grpc-core.

https://www.rfc-editor.org/rfc/rfc9113#section-9.2.2
"""


@dataclass(frozen=True)
class ServerCredentials:
    """One state of the files: the bytes for gRPC, and the same as contexts for asyncio.

    `context` is that of HTTP/2, `web_context` that of HTTP/1.1. `client_ca` is None where callers
    show no certificate. Times are in seconds of Unix time.
    """

    certificate: bytes
    key: bytes
    client_ca: bytes | None
    context: ssl.SSLContext
    web_context: ssl.SSLContext
    expires_at: float
    ca_expires_at: float | None
    """When the first of the CAs expires."""

    @property
    def parsed(self) -> tuple[Certificate, Sequence[Certificate]]:
        """The certificate that the server shows, and all CAs of its callers."""
        cas = () if self.client_ca is None else certificates(self.client_ca)
        return certificates(self.certificate)[0], cas


class ServerTls:
    """The credentials in force. They are replaced whole, so that any thread may read `current`.

    Raises ValueError if the files can't be used.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        self.files = WatchedFiles(
            "TLS of the gateway's port", list(_paths(settings)), self._load, settings.refresh_s
        )
        self._load()

    def figures(self) -> Figures:
        """When the certificates in force expire, and whether the files are good."""
        now = time.time()
        current = self.current
        expiry: dict[Labels, float] = {("server",): current.expires_at - now}
        if current.ca_expires_at is not None:
            expiry["client_ca",] = current.ca_expires_at - now
        return {
            "forebay_certificate_expiry_seconds": expiry,
            "forebay_identity_problems": {("tls",): int(self.files.problem is not None)},
        }

    def _load(self) -> None:
        self.current = read_credentials(self._settings)


def read_credentials(settings: TlsSettings) -> ServerCredentials:
    """Reads and checks the files. Raises ValueError, with a message that names the file."""
    read = {path: _read(path) for path in _paths(settings)}
    now = datetime.now(UTC)
    pair = f"{settings.certificate} and {settings.key}"
    with _named(pair):
        leaf = server_certificate(read[settings.certificate], read[settings.key], now)
    client_ca = None if settings.client_ca is None else read[settings.client_ca]
    trusted: Sequence[Certificate] = ()
    if client_ca is not None:
        with _named(str(settings.client_ca)):
            trusted = authorities(client_ca, now)
    with _named(pair):
        context = _context(settings, trusted, "h2")
        web_context = _context(settings, trusted, "http/1.1")
    changed = [str(path) for path, before in read.items() if _read(path) != before]
    if changed:
        raise ValueError(f"{', '.join(changed)}: changed while it was read")
    return ServerCredentials(
        read[settings.certificate],
        read[settings.key],
        client_ca,
        context,
        web_context,
        leaf.not_valid_after_utc.timestamp(),
        min((ca.not_valid_after_utc.timestamp() for ca in trusted), default=None),
    )


@contextmanager
def _named(files: str) -> Iterator[None]:
    try:
        yield
    except (CertificateError, ssl.SSLError) as error:
        raise ValueError(f"{files}: {error}") from error


def _paths(settings: TlsSettings) -> Iterator[Path]:
    yield settings.certificate
    yield settings.key
    if settings.client_ca is not None:
        yield settings.client_ca


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error


def _context(
    settings: TlsSettings, trusted: Sequence[Certificate], protocol: str
) -> ssl.SSLContext:
    """Sessions can't be resumed: a resumed one would keep a client certificate that has expired."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols([protocol])
    # Without a password, OpenSSL would ask for that of an encrypted key on the terminal.
    context.load_cert_chain(settings.certificate, settings.key, password="")
    if trusted:
        context.verify_mode = ssl.CERT_REQUIRED
        in_der = b"".join(ca.public_bytes(Encoding.DER) for ca in trusted)
        context.load_verify_locations(cadata=in_der)
    return context
