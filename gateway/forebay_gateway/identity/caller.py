"""The part of a caller's identity that its handler gets. Pure."""

from __future__ import annotations

from forebay.v1 import call_pb2
from forebay_gateway.identity.principal import NOBODY, Principal


def caller_message(principal: Principal) -> call_pb2.Caller | None:
    """The caller as the record or the batch carries it; None where authentication is off."""
    if principal is NOBODY:
        return None
    return call_pb2.Caller(
        subject=principal.subject, roles=principal.roles, issuer=principal.issuer
    )


def caller_bytes(principal: Principal) -> bytes:
    """The serialized message; empty where authentication is off."""
    message = caller_message(principal)
    return b"" if message is None else message.SerializeToString()
