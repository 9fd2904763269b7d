"""The credentials of a `grpc.aio` server, which change while it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from forebay_gateway.tls.server_tls import ServerCredentials, ServerTls


def server_credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """The credentials of one server.

    Each server needs its own object, since gRPC keeps one "last configuration" per object. Each
    handshake calls `fetch` and blocks other handshakes meanwhile, so `fetch` only reads memory. If
    it returned an invalid configuration, gRPC would continue with the last one.
    """
    taken = tls.current

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal taken
        current = tls.current
        if current is taken:
            return None
        taken = current
        return _configuration(current)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(taken),
        fetch,  # type: ignore[arg-type]  # None means no change
        require_client_authentication=taken.client_ca is not None,
    )


def _configuration(of: ServerCredentials) -> grpc.ServerCertificateConfiguration:
    """Makes a new configuration for each use, since gRPC takes ownership of it."""
    return grpc.ssl_server_certificate_configuration([(of.key, of.certificate)], of.client_ca)
