"""Operations on calls whose task messages a gateway holds back, so that tenants share the queue.

Such a call is queued and has no message. Its gateway renews the hold. If it has not done so for a
lease, another gateway takes the call over; after two leases the reaper sends the message. A gateway
that shuts down sets the age of its holds to a lease, so that others take over at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forebay_backends.ledger.keys import CallKey, partition_prefix
from forebay_backends.ledger.operations.base import (
    LEASE_MS,
    Argument,
    Operation,
    Push,
    Refused,
    Reply,
    about,
    parse_refused,
)

HELD_WORDS = 7


@dataclass(frozen=True)
class HeldCall:
    """A call whose message is held back; `traceparent` is empty if it has no trace."""

    call: CallKey
    queue: str
    attempt: int
    task: str
    priority: int
    method: str
    traceparent: str = ""


def send_held(call: CallKey, push: Push, *, piggybacked: bool = False) -> Operation[Refused | None]:
    """The gateway sends the call's message now; pushes it if the broker is the ledger's server.

    A `piggybacked` call is named by another call's message. Refused with QUEUED if the message was
    sent before, and with another state if the call needs none any more.
    """
    return about(call, "held/send", parse_refused, push.queue_list, push.message, int(piggybacked))


def renew_held(partition: str, calls: Sequence[tuple[str, CallKey]]) -> Operation[list[CallKey]]:
    """Renews the holds of calls of one partition; returns those that are not held any more.

    `calls` are pairs of a queue and a call.
    """
    return _renewed(partition, calls, ago_ms=0)


def hand_over_held(
    partition: str, calls: Sequence[tuple[str, CallKey]]
) -> Operation[list[CallKey]]:
    """Lets other gateways take over these calls at once; otherwise as `renew_held`."""
    return _renewed(partition, calls, ago_ms=LEASE_MS)


def _renewed(
    partition: str, calls: Sequence[tuple[str, CallKey]], *, ago_ms: int
) -> Operation[list[CallKey]]:
    words: list[Argument] = []
    for queue, call in calls:
        words += (queue, str(call))
    return Operation(
        "held/renew",
        partition,
        (ago_ms, *words),
        lambda reply: [CallKey.parse(word.decode()) for word in reply],
    )


def adopt_held(
    partition: int, queues: Sequence[str], limit: int = 500
) -> Operation[list[HeldCall]]:
    """Takes over calls whose gateway has not renewed its holds for a lease."""
    return Operation(
        "held/adopt",
        partition_prefix(partition),
        (LEASE_MS, limit, *queues),
        lambda reply: [
            held_call(reply[n : n + HELD_WORDS]) for n in range(0, len(reply), HELD_WORDS)
        ],
    )


def held_call(words: Reply) -> HeldCall:
    """Parses the `HELD_WORDS` words that scripts reply about a call."""
    call, queue, attempt, task, priority, method, traceparent = (word.decode() for word in words)
    return HeldCall(
        CallKey.parse(call), queue, int(attempt), task, int(priority), method, traceparent
    )
