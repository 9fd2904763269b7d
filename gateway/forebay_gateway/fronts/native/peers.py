"""The other end of a connection, in gRPC's words."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

_SPIFFE = "spiffe://"


def peer_of(transport: asyncio.Transport) -> str:
    """`ipv4:10.0.0.7:50312`, `ipv6:%5B::1%5D:50312`, `unix:`"""
    address: Any = transport.get_extra_info("peername")
    if not isinstance(address, tuple):
        return "unix:"
    host, port = address[:2]
    if ":" not in host:
        return f"ipv4:{host}:{port}"
    return f"ipv6:{quote(f'[{host}]', safe=':')}:{port}"


def auth_context_of(tls: ssl.SSLObject | None) -> Mapping[str, Iterable[bytes]]:
    """GRPC's properties of a TLS connection.

    https://github.com/grpc/grpc/blob/master/include/grpc/grpc_security_constants.h
    """
    if tls is None:
        return {}
    context: dict[str, list[bytes]] = {"transport_security_type": [b"ssl"]}
    binary, parsed = tls.getpeercert(binary_form=True), tls.getpeercert()
    if not binary or not parsed:
        return context
    context["x509_pem_cert"] = [ssl.DER_cert_to_PEM_cert(binary).encode()]
    subject: Any = parsed.get("subject", ())
    names: Any = parsed.get("subjectAltName", ())
    for part in subject:
        for key, value in part:
            if key == "commonName":
                context.setdefault("x509_common_name", []).append(value.encode())
    alternatives = [value.encode() for _, value in names]
    if alternatives:
        context["x509_subject_alternative_name"] = alternatives
    spiffe = [
        value.encode() for kind, value in names if kind == "URI" and value.startswith(_SPIFFE)
    ]
    if spiffe:
        context["peer_spiffe_id"] = spiffe
    return context
