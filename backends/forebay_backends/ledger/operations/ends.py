"""Operations on the ends of calls whose routes name a task to notify (`on_end`).

The script that ends such a call stores an entry, which outlives the call's record. A process takes
entries on a lease, sends their messages, and then deletes the entries. If it dies in between,
another process sends the messages again. A worker that can't run a message stores its entry again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forebay_backends.ledger.keys import CallKey, partition_prefix
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.base import Operation

TAKEN_FOR_S = 5.0
MOST_AT_ONCE = 200


@dataclass(frozen=True)
class KeptEnd:
    """The end of a call; `on_end` is the task to notify, as the gateway sealed it.

    Times are in ms of the ledger's clock; 0 for a stage that the call did not reach.
    """

    call: CallKey
    method: str
    state: State
    reason: str
    attempt: int
    created_ms: int
    start_ms: int
    queued_ms: int
    begun_ms: int
    finished_ms: int
    on_end: bytes


@dataclass(frozen=True)
class TakenEnds:
    """Entries that were taken; `until_ms` is when the lease ends, by the ledger's clock."""

    partition: int
    until_ms: int
    entries: list[bytes]


def take_ends(partition: int, limit: int = MOST_AT_ONCE) -> Operation[TakenEnds]:
    """Takes the oldest entries; no other process gets them for `TAKEN_FOR_S`."""
    return Operation(
        "ends/take",
        partition_prefix(partition),
        (round(TAKEN_FOR_S * 1000), limit),
        lambda reply: TakenEnds(partition, int(reply[0]), reply[1:]),
    )


def forget_ends(taken: TakenEnds, entries: Sequence[bytes]) -> Operation[None]:
    """Deletes entries whose messages were sent, or can never be.

    Not those that a worker without the task has restored since then.
    """
    return Operation(
        "ends/forget",
        partition_prefix(taken.partition),
        (taken.until_ms, *entries),
        lambda reply: None,
    )


def restore_end(end: KeptEnd) -> Operation[None]:
    """Stores the entry again, to be taken at once. The ledger may still have it."""
    return Operation(
        "ends/restore",
        end.call.partition,
        (format_end(end),),
        lambda reply: None,
        waits_for_replicas=True,
    )


def format_end(end: KeptEnd) -> bytes:
    """The entry, as the script writes it that ends the call."""
    words = (
        *(end.call, end.method, end.state, end.reason or "-", end.attempt),
        *(end.created_ms, end.start_ms, end.queued_ms, end.begun_ms, end.finished_ms),
    )
    return " ".join(map(str, words)).encode() + b"\n" + end.on_end


def parse_end(entry: bytes) -> KeptEnd:
    """Parses an entry; raises ValueError if it is malformed or of a newer version."""
    head, _, on_end = entry.partition(b"\n")
    call, method, state, reason, *numbers = head.decode().split(" ")
    attempt, created, start, queued, begun, finished = map(int, numbers)
    return KeptEnd(
        CallKey.parse(call),
        method,
        State(state),
        "" if reason == "-" else reason,
        attempt,
        created,
        start,
        queued,
        begun,
        finished,
        on_end,
    )
