"""Operations on the requests of a call whose requests are a stream.

A live call is queued before its requests are complete. The gateway keeps adding requests to the
input stream, and the handler reads them from there. When it asks for the next request, it
acknowledges the ones before. The ledger holds at most a window of unread requests. It deletes
requests that were read, unless the call may be run again.
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
    """Consecutive requests.

    `total`: how many the call has in all; None while more may come. `end` is the seal on it.
    """

    total: int | None
    requests: tuple[bytes, ...]
    end: bytes = b""


def receive(
    call: CallKey, ordinal: int, request: bytes, limit_bytes: int
) -> Operation[Refused | None]:
    """Stores one request message; the ledger may hold `limit_bytes` of a call's requests.

    Refused with TOO_LARGE if they would be more, and with FULL if the handler of a live call must
    first read stored requests. Watchers then get `RequestWindowOpen` once half the window is free.
    """
    large = large_message(call, call.inputs, ordinal, request)
    arguments = ordinal, request, limit_bytes, len(request)
    return about(call, "requests/receive", parse_refused, *arguments, large=large)


def complete(
    call: CallKey,
    push: Push,
    inputs: int | None = None,
    *,
    held: bool = False,
    requests_end: bytes = b"",
) -> Operation[Refused | None]:
    """Ends the requests; queues the call and pushes its message, unless it is live.

    The gateway sends the message of a `held` call later; see `held.py`. Refused with GAP if the
    ledger has fewer requests than `inputs`. `requests_end` is the seal on their number.
    """
    count: Argument = "" if inputs is None else inputs
    arguments = (push.queue_list, push.message, count, int(held), requests_end)
    return about(call, "requests/complete", parse_refused, *arguments, waits_for_replicas=True)


def take_requests(
    call: CallKey, attempt: int, first: int, read_bytes: int
) -> Operation[Requests | Refused]:
    """Acknowledges the requests before ordinal `first`, of `read_bytes` in all, and reads the next.

    Returns up to about 1 MiB. If there are none yet, the handler waits, at most for the call's idle
    limit. Refused with GAP if the ledger has lost requests.
    """
    bounds = (_AT_ONCE, _AT_ONCE_BYTES)
    arguments = (str(call), attempt, first, read_bytes, *bounds)
    return Operation("requests/take", call.partition, arguments, _requests)


def _requests(reply: Reply) -> Requests | Refused:
    if reply[0] != b"OK":
        return refused(reply[0])
    _, total, end, *requests = reply
    return Requests(None if total == b"-1" else int(total), tuple(requests), end)
