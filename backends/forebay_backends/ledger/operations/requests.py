"""Requests of a live call, on their way to its handler: the ledger's operation.

A live call is queued before its requests are complete. The gateway goes on putting them into
the input stream; the handler takes them from there, and by taking more says what it has read.
So the ledger holds a window of unread requests at most. Those read stay while the call may be
run again, from the first request on, and are let go where it may not.
"""

from __future__ import annotations

from dataclasses import dataclass

from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.large_messages import large_message
from forebay_backends.ledger.operations.base import (
    Argument,
    Operation,
    Push,
    Refused,
    Reply,
    about,
    parse_refused,
    refused,
)

_AT_ONCE = 64
_AT_ONCE_BYTES = 1 << 20


@dataclass(frozen=True)
class Requests:
    """Requests from some ordinal on; `total` is how many there are in all, None: more may come."""

    total: int | None
    requests: tuple[bytes, ...]


def receive(
    call: CallKey, ordinal: int, request: bytes, limit_bytes: int
) -> Operation[Refused | None]:
    """Spools one request message.

    FULL where the handler of a live call has a window of others to read first: watchers are
    told when it has (`RequestWindowOpen`). `limit_bytes` are what the ledger may hold.
    """
    large = large_message(call, call.inputs, ordinal, request)
    arguments = ordinal, b"" if large else request, limit_bytes, len(request)
    return about(call, "requests/receive", parse_refused, *arguments, large=large)


def complete(call: CallKey, push: Push, inputs: int | None = None) -> Operation[Refused | None]:
    """The requests have ended; unless it is live, the call is queued (and its message pushed).

    Refused with GAP where the ledger does not have as many requests as were spooled.
    """
    count: Argument = "" if inputs is None else inputs
    return about(call, "requests/complete", parse_refused, push.queue_list, push.message, count)


def take_requests(
    call: CallKey, attempt: int, first: int, read_bytes: int
) -> Operation[Requests | Refused]:
    """The handler has read the requests before ordinal `first`, of `read_bytes` in all, and wants
    what follows: about 1 MiB of it, none where it has to wait.

    How long it waits is bounded by the call's idle limit. Refused with GAP where the ledger has
    lost requests.
    """
    bounds = (_AT_ONCE, _AT_ONCE_BYTES)
    arguments = (str(call), attempt, first, read_bytes, *bounds)
    return Operation("requests/take", call.partition, arguments, _requests)


def _requests(reply: Reply) -> Requests | Refused:
    if reply[0] != b"OK":
        return refused(reply[0])
    return Requests(None if reply[1] == b"-1" else int(reply[1]), tuple(reply[2:]))
