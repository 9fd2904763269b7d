"""Why TLS to a backend fails: its certificate can't be verified, or it refuses the client's.

A server with TLS 1.3 checks the client's certificate after the client's side of the handshake. If
it refuses it, and a command arrives, the reset of the connection may overtake the alert with the
reason. So the doctor connects once more, and sends nothing.
"""

from __future__ import annotations

import asyncio
import socket
import ssl

from forebay.cli.tls_problems import alert
from forebay.errors import BackendUnavailable
from forebay_backends.urls import AmqpServer, RedisServer
from forebay_backends.urls.tls import Tls

_TIMEOUT_S = 1.0
_OF_CERTIFICATES = ("certificate", "unknown ca")


def verification_fix(error: BackendUnavailable, setting: str) -> str | None:
    """For a certificate that can't be verified; `setting` is that of the URL."""
    if "certificate verify failed" not in str(error.__cause__):
        return None
    ca = _beside(setting, "tls_ca")
    return f"set {ca} to the file of its CA, and name the host as its certificate does"


async def refused_certificate(
    where: RedisServer | AmqpServer, setting: str
) -> tuple[str, str] | None:
    """The problem and its fix if `where` refuses the client's certificate, or requires one.

    None also if it does not say so within a second. `setting` is that of the URL.
    """
    tls = where.tls
    if tls is None:
        return None
    tried = (asyncio.to_thread(_alert, host, port, tls) for host, port in where.hosts)
    for reason in await asyncio.gather(*tried):
        if reason is not None and any(word in reason for word in _OF_CERTIFICATES):
            verb = "refuses the" if tls.certificate else "requires a"
            both = " and ".join(_beside(setting, name) for name in ("tls_certificate", "tls_key"))
            return (
                f"{where.shown} {verb} client certificate: TLS alert `{reason}`",
                f"set {both} to a certificate of a CA that it trusts",
            )
    return None


def _beside(setting: str, name: str) -> str:
    """How an error message names the setting `name` that goes with that of a URL."""
    application, dot, _ = setting.rpartition(".")
    return f"{application}.{name}" if dot else f"FOREBAY_{name.upper()}"


def _alert(host: str, port: int, tls: Tls) -> str | None:
    try:
        with (
            socket.create_connection((host, port), _TIMEOUT_S) as plain,
            _context(tls).wrap_socket(plain, server_hostname=host) as secure,
        ):
            secure.recv(1)
    except OSError as error:
        return alert(error)
    return None


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca or None)
    context.check_hostname = tls.check_hostname
    if not tls.verify:
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate:
        context.load_cert_chain(tls.certificate, tls.key or None, password="")
    return context
