"""The reaper's operations, on all calls of a partition."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from forebay_backends.ledger.keys import CallKey, partition_prefix
from forebay_backends.ledger.operations.base import (
    LEASE_MS,
    Argument,
    Lapse,
    Operation,
    Refused,
    Reply,
    WaitingCall,
    parse_lapses,
)

_MOST_A_PARTITION = 100
_WORDS = 8


@dataclass(frozen=True)
class Swept:
    """The result of sweeping one partition, and the bytes that its ended calls hold.

    `oldest_ms` is when the first of them passes its retention. `clock_ms` is the partition's clock.
    `lapses` are the attempts whose workers were lost. `ends` is the number of ended calls that a
    task must be notified of.
    """

    reviewed: int
    dropped: int
    held_bytes: int
    oldest_ms: int | None
    clock_ms: int
    lapses: tuple[Lapse, ...] = ()
    ends: int = 0


@dataclass(frozen=True)
class ClockReading:
    """The ledger's clock in ms since 1970, and whether a process may derive later times from it.

    It may not while the ledger's clock is held, either because the server's clock was stepped or
    because no process has swept for a while: the reading process can't tell which.
    """

    now_ms: int
    is_certain: bool


@dataclass(frozen=True)
class UnclaimedCall:
    """A queued call that no worker has claimed.

    `sent_ms` is when its message was sent, or 0; `traceparent` is empty if it has no trace.
    """

    call: CallKey
    attempt: int
    task: str
    queue: str
    priority: int
    sent_ms: int
    overtaken: bool
    piggybacked: bool = False
    traceparent: str = ""


@dataclass(frozen=True)
class QueueBacklog:
    """A queue's calls without a worker.

    `count` is the number of those with a message of their own; `old` are those whose message was
    sent a lease ago or more, or has yet to be sent.
    """

    count: int
    old: tuple[UnclaimedCall, ...]

    def __add__(self, other: QueueBacklog) -> QueueBacklog:
        return QueueBacklog(self.count + other.count, self.old + other.old)


def sweep(partition: int, consumed: Collection[str], limit: int = 100) -> Operation[Swept]:
    """Ends what is due in a partition, drops what is past its retention, and sets its clock.

    `consumed` are the queues that live workers consume.
    """
    return Operation(
        "maintenance/sweep",
        partition_prefix(partition),
        (limit, json.dumps(sorted(consumed))),
        _swept,
        settles_clock=True,
    )


def read_clock(partition: int = 0) -> Operation[ClockReading]:
    """The partition's clock; all partitions show about the same time."""
    return Operation(
        "maintenance/read_clock",
        partition_prefix(partition),
        (),
        lambda reply: ClockReading(int(float(reply[0])), reply[1] == b"1"),
        settles_clock=True,
    )


def evict(partition: int) -> Operation[int]:
    """Drops a partition's oldest ended call that nobody watches; returns the bytes it held."""
    return Operation(
        "maintenance/evict", partition_prefix(partition), (), lambda reply: int(reply[0])
    )


def unclaimed(partition: int, queues: Sequence[str]) -> Operation[dict[str, QueueBacklog]]:
    """The partition's calls without a worker, by queue."""

    def parse(reply: Reply) -> dict[str, QueueBacklog]:
        return {queue: _backlog(queue, found) for queue, found in zip(queues, reply, strict=True)}

    arguments: tuple[Argument, ...] = (LEASE_MS, _MOST_A_PARTITION, *queues)
    return Operation("maintenance/unclaimed", partition_prefix(partition), arguments, parse)


def mark_resent(call: WaitingCall) -> Operation[Refused | None]:
    """Records that the call's message was sent again."""
    return Operation(
        "maintenance/mark_resent",
        call.call.partition,
        (str(call.call), call.queue),
        lambda reply: None,
    )


def _backlog(queue: str, found: Sequence[bytes] | bytes) -> QueueBacklog:
    count, *words = (word.decode() for word in found if isinstance(word, bytes))
    calls = (words[i : i + _WORDS] for i in range(0, len(words), _WORDS))
    return QueueBacklog(
        int(count),
        tuple(
            UnclaimedCall(
                CallKey.parse(key),
                int(attempt),
                task,
                queue,
                int(priority),
                int(float(sent)),
                overtaken == "1",
                piggybacked == "1",
                traceparent,
            )
            for key, sent, attempt, task, priority, overtaken, piggybacked, traceparent in calls
        ),
    )


def _swept(reply: Sequence[Any]) -> Swept:
    reviewed, dropped, held, oldest, clock, lapses, ends = reply
    return Swept(
        int(reviewed),
        int(dropped),
        int(held),
        int(float(oldest)) if oldest else None,
        int(float(clock)),
        parse_lapses(lapses),
        int(ends),
    )
