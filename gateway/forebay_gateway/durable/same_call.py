"""Whether a call in the ledger is the one that a caller means. Pure."""

from __future__ import annotations

from forebay_backends.ledger.operations.calls import CallSnapshot
from forebay_gateway.rpc.cache_key import cache_key
from forebay_gateway.rpc.incoming import IncomingCall


def is_same_call(incoming: IncomingCall, snapshot: CallSnapshot, tenant: str) -> bool:
    """Whether the call has the caller's method and request, or is a run that it may share."""
    if snapshot.method != incoming.method.name:
        return False
    if incoming.first is None or snapshot.digest == incoming.digest:
        return True
    return is_shared_run(incoming, snapshot, tenant)


def is_shared_run(incoming: IncomingCall, snapshot: CallSnapshot, tenant: str) -> bool:
    """Whether the call in the ledger is a run that the caller's call may share.

    If there is no request, as when an upload is resumed, only the method is compared.
    """
    if not snapshot.cache or snapshot.method != incoming.method.name:
        return False
    if incoming.first is None:
        return True
    key = cache_key(incoming.method, incoming.options, incoming.first, tenant)
    return key is not None and key.digest == snapshot.cache
