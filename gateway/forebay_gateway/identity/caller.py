"""The part of a caller's identity that its handler gets. Pure."""

from __future__ import annotations

from functools import lru_cache

from forebay.v1 import call_pb2
from forebay_gateway.identity.principal import NOBODY, Principal


def caller_bytes(principal: Principal) -> bytes:
    """The caller as record and batch carry it, serialized; empty where authentication is off."""
    if principal is NOBODY:
        return b""
    return _serialized(principal.subject, principal.roles, principal.issuer)


@lru_cache(maxsize=1024)
def _serialized(subject: str, roles: tuple[str, ...], issuer: str) -> bytes:
    return call_pb2.Caller(subject=subject, roles=roles, issuer=issuer).SerializeToString()
