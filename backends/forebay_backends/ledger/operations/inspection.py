"""Operations that list, describe, observe and delete calls.

`observe`, and `describe` with `review`, first end a call that is due. An observer gets the same
frames as a watcher, but it does not keep a call alive, does not take part in flow control, and its
disconnect does not cancel the call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from forebay_backends.ledger.frames import Ending
from forebay_backends.ledger.keys import CallKey, partition_prefix
from forebay_backends.ledger.lifecycle import State, known_state
from forebay_backends.ledger.operations.base import (
    Operation,
    Refusal,
    Refused,
    Reply,
    parse_refused,
    refused,
)
from forebay_backends.ledger.scripts import LEASE_S

_LISTED_WORDS = 9


@dataclass(frozen=True, order=True)
class Cursor:
    """A position in the order of all calls: a call's key and when it was accepted (ms)."""

    created_ms: int
    call: str


@dataclass(frozen=True)
class Listed:
    """A call in a listing, with what filters need. Times in ms, 0 until the event happens.

    `state` is None if a newer version of Forebay wrote a state that this version does not know.
    """

    cursor: Cursor
    state: State | None
    method: str
    queue: str
    begun_ms: int
    finished_ms: int
    worker: str = ""
    reason: str = ""

    @property
    def call(self) -> CallKey:
        return CallKey.parse(self.cursor.call)


@dataclass(frozen=True)
class Stretch:
    """A page of a partition's calls, newest first; `read_to` is None on the last page."""

    calls: tuple[Listed, ...]
    read_to: Cursor | None


@dataclass(frozen=True)
class EarlierAttempt:
    """An attempt that did not end the call; times in ms of the ledger's clock."""

    attempt: int
    worker: str
    begun_ms: int
    lapsed_ms: int


@dataclass(frozen=True)
class Description:
    """A call in full. Times in ms of the ledger's clock, 0 until the event happens.

    `state` is None if a newer version wrote one that this version does not know. `last_item` is the
    last item of a call that succeeded, `progress` the latest transient item of a call that runs;
    None if there is none, or if it is too large. `operation_metadata` is the latest that the
    handler of an operation yielded, empty if there is none; None if it is too large. `metadata` and
    `caller` are empty in a listing, and when the call has ended. `earlier` are the latest of the
    attempts that did not end the call, oldest first.
    """

    read_ms: int
    state: State | None
    reason: str
    method: str
    queue: str
    worker: str
    attempt: int
    created_ms: int
    start_ms: int
    queued_ms: int
    begun_ms: int
    finished_ms: int
    deadline_ms: int
    first: int
    count: int
    sent: int
    outcome: bytes
    last_item: bytes | None
    progress: bytes | None
    operation_metadata: bytes | None = b""
    request_count: int = 0
    request_bytes: int = 0
    priority: int = 0
    metadata: bytes = b""
    caller: bytes = b""
    earlier: tuple[EarlierAttempt, ...] = ()

    @property
    def ending(self) -> Ending | None:
        """None if the call has not ended."""
        if self.state is None or not self.state.terminal:
            return None
        return Ending(
            self.state,
            self.reason,
            self.count,
            self.attempt,
            queue_ms=0,
            run_ms=0,
            outcome=self.outcome,
        )


@dataclass(frozen=True)
class ObservedCall:
    """The state of a call, for an observer. The ledger has its items `first` to `count` - 1.

    `outcome` is that of an ended call, sealed.
    """

    state: State
    method: str
    first: int
    count: int
    sent: int
    outcome: bytes = b""


@dataclass(frozen=True)
class Backlog:
    """How many of a queue's calls have no worker, and how long the oldest has waited (ms)."""

    calls: int = 0
    oldest_ms: int = 0

    def __add__(self, other: Backlog) -> Backlog:
        return Backlog(self.calls + other.calls, max(self.oldest_ms, other.oldest_ms))


def list_calls(
    partition: int, after: Cursor | None, oldest_ms: int | None, limit: int, owner: str = ""
) -> Operation[Stretch]:
    """Up to `limit` calls of a partition, newest first: those after the position `after`.

    Calls accepted before `oldest_ms` are left out. Without an owner, the calls of all owners are
    read.
    """
    return Operation(
        "inspection/list",
        partition_prefix(partition),
        (
            "" if after is None else after.created_ms,
            "" if after is None else after.call,
            "" if oldest_ms is None else oldest_ms,
            limit,
            owner,
        ),
        _stretch,
    )


def describe(
    call: CallKey, most_bytes: int, *, review: bool = False
) -> Operation[Description | Refused]:
    """The call in full, without items of more than `most_bytes`.

    With `review`, it first ends a call that is due, and also returns metadata and caller.
    """
    return Operation(
        "inspection/describe", call.partition, (str(call), most_bytes, int(review)), _description
    )


def observe(call: CallKey, channel: str) -> Operation[ObservedCall | Refused]:
    """Registers the channel as an observer for the time of a lease; returns the call's state."""
    return Operation(
        "inspection/observe", call.partition, (str(call), channel, int(LEASE_S * 1000)), _observed
    )


def backlog(partition: int, queues: Sequence[str]) -> Operation[tuple[Backlog, ...]]:
    """The partition's backlog of each queue."""
    return Operation(
        "inspection/backlog",
        partition_prefix(partition),
        tuple(queues),
        lambda reply: tuple(
            Backlog(int(calls), int(float(oldest_ms)))
            for calls, oldest_ms in zip(reply[::2], reply[1::2], strict=True)
        ),
    )


def delete(call: CallKey) -> Operation[Refused | None]:
    """Deletes a call that has ended; refused, with the call's state, if it has not ended."""
    return Operation("inspection/delete", call.partition, (str(call),), parse_refused)


def _stretch(reply: Reply) -> Stretch:
    read_to_ms, read_to_call, *words = reply
    return Stretch(
        tuple(_listed(words)),
        Cursor(int(float(read_to_ms)), read_to_call.decode()) if read_to_ms else None,
    )


def _listed(words: Reply) -> Iterator[Listed]:
    for start in range(0, len(words), _LISTED_WORDS):
        call, created, state, method, queue, begun, finished, worker, reason = (
            word.decode() for word in words[start : start + _LISTED_WORDS]
        )
        yield Listed(
            Cursor(int(float(created)), call),
            known_state(state),
            method,
            queue,
            int(begun),
            int(finished),
            worker,
            reason,
        )


def _description(reply: Reply) -> Description | Refused:
    if reply[0] != b"OK":
        return refused(reply[0])
    _, read_ms, state, reason, method, queue, worker, *numbers = reply[:-7]
    outcome, earlier, last, progress, operation_metadata, metadata, caller = reply[-7:]
    attempt, created, start, queued, begun, finished, deadline, first, count, sent, *more = (
        int(number or 0) for number in numbers
    )
    request_count, request_bytes, priority = more
    return Description(
        int(read_ms),
        known_state(state.decode()),
        reason.decode(),
        method.decode(),
        queue.decode(),
        worker.decode(),
        attempt,
        created,
        start,
        queued,
        begun,
        finished,
        deadline,
        first,
        count,
        sent,
        outcome,
        _item(last),
        _item(progress),
        _item(operation_metadata) if operation_metadata else b"",
        request_count,
        request_bytes,
        priority,
        metadata,
        caller,
        tuple(map(_earlier_attempt, filter(None, earlier.decode().split("\n")))),
    )


def _earlier_attempt(line: str) -> EarlierAttempt:
    attempt, begun, lapsed, worker = line.split(" ", 3)
    return EarlierAttempt(int(attempt), worker, int(begun), int(float(lapsed)))


def _item(item: bytes) -> bytes | None:
    return item[1:] if item.startswith(b"+") else None


def _observed(reply: Reply) -> ObservedCall | Refused:
    if reply[0] != b"OK":
        return refused(reply[0])
    *words, outcome = reply
    _, state, method, first, count, sent = (word.decode() for word in words)
    known = known_state(state)
    if known is None:
        return Refused(Refusal.NEWER)
    return ObservedCall(known, method, int(first), int(count), int(sent), outcome)
