"""One attempt's work in parts, which several workers compute: the ledger's operations.

The worker that runs the attempt, its *owner*, shares it; whoever has `join`ed `take`s a part,
computes it and `deliver`s it, in pieces, which the owner `collect`s in order. A part is not
handed out before it is within the window, counted from the one that the owner waits for,
so the ledger holds a window of parts at most. A claim on a part is no promise: it lapses
where somebody who could compute it loses patience, and what is delivered twice is stored
once. So a part must come out the same, byte for byte, whoever computes it.

What is shared lives in one key of the call's partition, and goes when the attempt ends.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.calls import (
    Begun,
    Operation,
    Refused,
    Reply,
    parse_begun,
    parse_refused,
)

Piece = bytes | memoryview
"""Some bytes of a part, at most what a message may have."""


@dataclass(frozen=True)
class Taken:
    """What `take` gave: a part, or none now, with `more` to come when the window has moved."""

    part: int | None
    more: bool


def share(call: CallKey, attempt: int, count: int, window: int) -> Operation[Refused | None]:
    """The attempt's work is in `count` parts, of which the ledger may hold a window."""
    return Operation(
        "share", call.partition, (str(call), attempt, count, max(1, window)), parse_refused
    )


def join(call: CallKey, attempt: int) -> Operation[Begun | Refused]:
    """What one needs to compute parts of the attempt, as its owner was given it."""
    return Operation("join", call.partition, (str(call), attempt), parse_begun)


def take(
    call: CallKey, attempt: int, worker: str, patience_s: float, *, keep: bool = False
) -> Operation[Taken | Refused]:
    """Claims the first part that nobody has, or somebody has had for longer than the patience.

    The owner keeps what it takes: it is not claimed again while the attempt lasts. The same
    operation may be run twice, another one takes another part.
    """
    claim = f"{worker} {uuid.uuid4().hex}"
    arguments = (str(call), attempt, claim, round(patience_s * 1000), int(keep))
    return Operation("take", call.partition, arguments, _taken)


def deliver(
    call: CallKey, attempt: int, part: int, pieces: Sequence[Piece]
) -> list[Operation[Refused | None]]:
    """Stores a part's pieces; the last to come tells the owner.

    Refused with GAP for a part that the window does not reach.
    """
    return [
        Operation(
            "deliver",
            call.partition,
            (str(call), attempt, part, number, len(pieces), piece),
            parse_refused,
        )
        for number, piece in enumerate(pieces)
    ]


def collect(call: CallKey, attempt: int, part: int) -> Operation[int | Refused]:
    """How many pieces of the part are there, all or none; the parts before it go.

    Refused with GAP where the ledger lost what was shared.
    """
    return Operation("collect", call.partition, (str(call), attempt, part), _collected)


def _taken(reply: Reply) -> Taken | Refused:
    match reply:
        case [b"OK", part]:
            return Taken(int(part), more=True)
        case [b"WAIT" | b"NONE" as word]:
            return Taken(None, more=word == b"WAIT")
        case _:
            return Refused(reply[0].decode())


def _collected(reply: Reply) -> int | Refused:
    return int(reply[1]) if reply[0] == b"OK" else Refused(reply[0].decode())
