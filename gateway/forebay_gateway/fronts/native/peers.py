"""A connection's peer and TLS properties, as gRPC names them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from forebay_backends.settings.spiffe_patterns import SCHEME

_LONGEST_ID, _LONGEST_DOMAIN = 2048, 255
"""Bytes."""


def peer_of(transport: asyncio.Transport) -> str:
    """For example `ipv4:10.0.0.7:50312`, `ipv6:%5B::1%5D:50312` or `unix:`."""
    address: Any = transport.get_extra_info("peername")
    if not isinstance(address, tuple):
        return "unix:"
    host, port = address[:2]
    if ":" not in host:
        return f"ipv4:{host}:{port}"
    return f"ipv6:{quote(f'[{host}]', safe=':')}:{port}"


def auth_context_of(tls: ssl.SSLObject | None) -> Mapping[str, Iterable[bytes]]:
    """gRPC's properties of a TLS connection.

    https://github.com/grpc/grpc/blob/master/include/grpc/grpc_security_constants.h
    """
    if tls is None:
        return {}
    context: dict[str, list[bytes]] = {"transport_security_type": [b"ssl"]}
    binary = tls.getpeercert(binary_form=True)
    if not binary:
        return context
    context["x509_pem_cert"] = [ssl.DER_cert_to_PEM_cert(binary).encode()]
    parsed: Any = tls.getpeercert() or {}
    for part in parsed.get("subject", ()):
        for key, value in part:
            if key == "commonName":
                context.setdefault("x509_common_name", []).append(value.encode())
    names: Sequence[tuple[str, str]] = parsed.get("subjectAltName", ())
    alternatives = [value.encode() for _, value in names]
    if alternatives:
        context["x509_subject_alternative_name"] = alternatives
    spiffe_id = spiffe_id_of(names)
    if spiffe_id is not None:
        context["peer_spiffe_id"] = [spiffe_id.encode()]
    return context


def spiffe_id_of(names: Sequence[tuple[str, str]]) -> str | None:
    """The SPIFFE ID by grpc-core's rules: the only URI, with a trust domain and a path.

    `names` are the subject's alternative names, each with its kind. Source: `IsSpiffeId` in
    https://github.com/grpc/grpc/blob/master/src/core/lib/security/security_connector/ssl_utils.cc
    """
    uris = [value for kind, value in names if kind == "URI"]
    if len(uris) != 1 or not uris[0].startswith(SCHEME):
        return None
    domain, _, path = uris[0].removeprefix(SCHEME).partition("/")
    is_spiffe = (
        len(uris[0].encode()) <= _LONGEST_ID
        and len(domain.encode()) <= _LONGEST_DOMAIN
        and path.partition("/")[0] != ""
    )
    return uris[0] if is_spiffe else None
