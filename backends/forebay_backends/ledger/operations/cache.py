"""A gateway's operations on the runs that identical calls share."""

from __future__ import annotations

from dataclasses import dataclass

from forebay_backends.ledger.keys import CallKey, partition_of, partition_prefix
from forebay_backends.ledger.operations.base import (
    LEASE_MS,
    Argument,
    Operation,
    Push,
    Reply,
    milliseconds,
)
from forebay_backends.ledger.operations.calls import (
    ExistingCall,
    NewCall,
    accept_arguments,
    accepted_or_known,
)


@dataclass(frozen=True)
class Joined:
    """A shared run; `proof` is from the `accept_cached` of the gateway that began it."""

    call: CallKey
    proof: bytes


def accept_cached(
    call: CallKey,
    new: NewCall,
    channel: str,
    push: Push,
    *,
    proof: bytes = b"",
    renews: bool = False,
    held: bool = False,
) -> Operation[Joined | ExistingCall | None]:
    """Joins the run that has the cache key of `new`; if there is none, accepts as `accept` does.

    The call must be in the partition of its cache key. With `renews`, it joins no run. If it was
    accepted, further calls join it.
    """
    return Operation(
        "calls/accept_cached",
        call.partition,
        (
            new.cache,
            milliseconds(new.cache_ttl_s),
            int(renews),
            proof,
            *_leaving(new.linger_s, detach=new.detach),
            str(call),
            *accept_arguments(new, channel, push, held=held),
        ),
        lambda reply: _joined(reply) or accepted_or_known(reply),
        waits_for_replicas=True,
    )


def join(
    cache: str, ttl_s: float, channel: str, *, linger_s: float, detach: bool
) -> Operation[Joined | None]:
    """Joins the run that has the cache key; None if there is none."""
    arguments = cache, milliseconds(ttl_s), channel, LEASE_MS, *_leaving(linger_s, detach=detach)
    return Operation("calls/join", partition_prefix(partition_of(cache)), arguments, _joined)


def _leaving(linger_s: float, *, detach: bool) -> tuple[Argument, Argument]:
    """The arguments linger_ms and detach.

    A run without callers is cancelled after linger_ms, unless detach is 1.
    """
    return milliseconds(linger_s), int(detach)


def _joined(reply: Reply) -> Joined | None:
    return Joined(CallKey.parse(reply[1].decode()), reply[2]) if reply[0] == b"JOINED" else None
