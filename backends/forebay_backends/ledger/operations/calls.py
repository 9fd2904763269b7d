"""The ledger's operations, as values.

An `Operation` names a script, its arguments, and how its reply reads; it does no
I/O. `Ledger` and `BlockingLedger` (`connection.py`) run them, so gateway and
worker share one definition of each.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from forebay_backends.ledger.frames import Ending, parse_ending
from forebay_backends.ledger.keys import CallKey, partition_prefix
from forebay_backends.ledger.large_messages import Put, put_beside
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.scripts import LEASE_S

T = TypeVar("T")
Argument = str | bytes | memoryview | int
Reply = list[bytes]

ANNOUNCE_ABOVE_BYTES = 64 * 1024
"""Items up to this size go to gateways by pub/sub; larger ones are fetched."""

_LEASE_MS = int(LEASE_S * 1000)


@dataclass(frozen=True)
class Operation(Generic[T]):
    """One run of a script on one partition; `parse` turns its reply into a value.

    What is `put` follows it in one transaction, and the script says whether it may: so a
    large message is not copied and hashed by Lua.
    """

    script: str
    partition: str
    arguments: tuple[Argument, ...]
    parse: Callable[[Reply], T]
    put: Put | None = None


@dataclass(frozen=True)
class Refused:
    """An operation that had no place: the call's state, UNKNOWN, STALE, TAKEN, TOO_LARGE, FULL
    or GAP.
    """

    why: str


@dataclass(frozen=True)
class ExistingCall:
    """The id stands for a call already: its method, and the SHA-256 of its first request."""

    method: str
    digest: str


@dataclass(frozen=True)
class Push:
    """A task message and its Redis list, where the broker is the ledger's server."""

    queue_list: str = ""
    message: bytes = b""


@dataclass(frozen=True)
class NewCall:
    """What a record is made of; times in seconds, None where there is no bound."""

    method: str
    task: str
    queue: str
    priority: int
    digest: str
    receiving: bool
    request: bytes
    metadata: bytes
    timeout_s: float | None
    queue_wait_s: float
    run_limit_s: float | None
    linger_s: float
    detach: bool
    item_limit_bytes: int
    window_bytes: int
    retention_s: float
    attempts_limit: int
    may_run_again: bool
    deterministic: bool
    live: bool
    idle_s: float
    fingerprint: str = ""


@dataclass(frozen=True)
class Begun:
    """A handler's start: `inputs` is None where `request` is the only one; of a live call
    it is how many came so far. `fingerprint` is the gateway's of the method; empty where it
    said none.
    """

    method: str
    request: bytes
    inputs: int | None
    metadata: bytes
    timeout_s: float | None
    item_limit_bytes: int
    window_bytes: int
    live: bool
    fingerprint: str = ""


@dataclass(frozen=True)
class Flow:
    """How many items the foremost watcher has read, and how many watch."""

    read_count: int
    watchers: int


@dataclass(frozen=True)
class CallSnapshot:
    """Where a call stands, for a watcher: items in the ledger are `first` to `count` - 1.

    `receiving`: whether further requests may come.
    """

    method: str
    digest: str
    state: State
    attempt: int
    ahead_bytes: int
    count: int
    sent: int
    first: int
    initial: bytes
    transient: bytes
    receiving: bool
    ending: Ending | None


@dataclass(frozen=True)
class Swept:
    """What a sweep of one partition did, and what finished calls hold there."""

    reviewed: int
    dropped: int
    held_bytes: int
    oldest_ms: int | None


def accept(
    call: CallKey, new: NewCall, channel: str, push: Push, *, piggybacked: bool = False
) -> Operation[ExistingCall | None]:
    """Writes the record (and pushes its message); `ExistingCall` where the id stands for a call.

    One that piggybacked has its place in another call's message.
    """
    fields: dict[str, Argument] = {
        "method": new.method,
        "task": new.task,
        "priority": new.priority,
        "digest": new.digest,
        "metadata": new.metadata,
        "run_limit": _ms(new.run_limit_s, at_least=1),
        "linger": _ms(new.linger_s),
        "detach": int(new.detach),
        "item_limit": new.item_limit_bytes,
        "window": new.window_bytes,
        "retention": _ms(new.retention_s),
        "attempts_limit": new.attempts_limit,
        "rerun": int(new.may_run_again),
        "deterministic": int(new.deterministic),
        "fingerprint": new.fingerprint,
    }
    if new.receiving or new.live:
        fields["inputs"] = 0
    else:
        fields["request"] = new.request
    if new.live:
        fields |= {"live": "open", "idle": _ms(new.idle_s, at_least=1)}
    state = State.RECEIVING if new.receiving else State.QUEUED
    return _about(
        call,
        "accept",
        lambda reply: (
            ExistingCall(reply[1].decode(), reply[2].decode()) if reply[0] == b"KNOWN" else None
        ),
        channel,
        _LEASE_MS,
        str(state),
        _ms(new.timeout_s, at_least=1),
        _ms(new.queue_wait_s),
        push.queue_list,
        push.message,
        new.queue,
        int(piggybacked),
        *(part for pair in fields.items() for part in pair),
    )


def receive(
    call: CallKey, ordinal: int, request: bytes, limit_bytes: int
) -> Operation[Refused | None]:
    """Spools one request message.

    FULL where the handler of a live call has a window of others to read first: watchers are
    told when it has (`RequestWindowOpen`). `limit_bytes` are what the ledger may hold.
    """
    put, direct = put_beside(call, call.inputs, ordinal, request)
    size = len(request)
    return _about(call, "receive", parse_refused, ordinal, direct, limit_bytes, size, put=put)


def complete(call: CallKey, push: Push, inputs: int | None = None) -> Operation[Refused | None]:
    """The requests have ended; unless it is live, the call is queued (and its message pushed).

    Refused with GAP where the ledger does not have as many requests as were spooled.
    """
    count: Argument = "" if inputs is None else inputs
    return _about(call, "complete", parse_refused, push.queue_list, push.message, count)


def claim(call: CallKey, attempt: int, worker: str) -> Operation[Refused | None]:
    """A worker has the call's message and means to begin it."""
    return _about(call, "claim", parse_refused, attempt, worker, _LEASE_MS)


def begin(call: CallKey, attempt: int, worker: str, control: str) -> Operation[Begun | Refused]:
    """A worker starts the handler; it hears of credit and of stops on `control`.

    The same operation may be run twice, another one begins nothing.
    """
    return _about(call, "begin", _begun, attempt, worker, control, uuid.uuid4().hex)


def renew(
    partition: str, worker: str, claims: Sequence[tuple[CallKey, int]]
) -> Operation[list[str | None]]:
    """The worker still has these calls, all of the partition, by their attempts.

    An answer for each: None, or why it is the worker's no longer.
    """
    named = (part for call, attempt in claims for part in (str(call), attempt))
    return Operation("renew", partition, (worker, _LEASE_MS, *named), _renewed)


def release(call: CallKey, attempt: int, worker: str) -> Operation[Refused | None]:
    """The worker will not go on with the call: it moves, or fails with WORKER_LOST."""
    return _about(call, "release", parse_refused, attempt, worker)


def emit(call: CallKey, attempt: int, ordinal: int, item: bytes) -> Operation[Flow | Refused]:
    """Stores one lasting item, once, and tells the watchers."""
    put, direct = put_beside(call, call.items, ordinal, item)
    arguments = attempt, ordinal, direct, ANNOUNCE_ABOVE_BYTES, len(item)
    return _about(call, "emit", _flow, *arguments, put=put)


def emit_transient(call: CallKey, attempt: int, item: bytes) -> Operation[Refused | None]:
    """Pushes an item that is neither stored nor counted; the latest is kept."""
    return _about(call, "emit_transient", parse_refused, attempt, "transient", item)


def send_initial_metadata(
    call: CallKey, attempt: int, metadata: bytes
) -> Operation[Refused | None]:
    """Keeps the handler's initial metadata and tells the watchers."""
    return _about(call, "emit_transient", parse_refused, attempt, "initial", metadata)


def read_flow(call: CallKey, attempt: int) -> Operation[Flow | Refused]:
    """Where flow control stands, for a handler that waits."""
    return _about(call, "flow", _flow, attempt)


def finish(
    call: CallKey,
    attempt: int,
    event: Event,
    reason: str,
    outcome: bytes,
    response: bytes | None = None,
) -> Operation[Refused | None]:
    """The handler has ended: SUCCEED, FAIL or CANCEL; a unary method's with a response."""
    item = () if response is None else (response, ANNOUNCE_ABOVE_BYTES)
    return _about(call, "finish", parse_refused, attempt, str(event), reason, outcome, *item)


def discard(call: CallKey) -> Operation[Refused | None]:
    """Forgets a call whose message could not be sent.

    Refused where a worker has it, or where somebody else was told of it.
    """
    return _about(call, "discard", parse_refused)


def end(
    call: CallKey, event: Event, reason: str, outcome: bytes = b""
) -> Operation[Refused | None]:
    """Somebody other than the worker ends the call."""
    return _about(call, "end", parse_refused, str(event), reason, outcome)


def cancel(call: CallKey) -> Operation[Refused | None]:
    """Ends the call as CANCELLED; its worker is told."""
    return end(call, Event.CANCEL, "CANCELLED")


def attach(call: CallKey, channel: str) -> Operation[CallSnapshot | Refused]:
    """As `watch`, for a caller who is told that the call is known: it is discarded no more."""
    return _about(call, "watch", _snapshot, channel, _LEASE_MS, "attach")


def watch(call: CallKey, channel: str) -> Operation[CallSnapshot | Refused]:
    """Registers or renews a watch, and tells where the call stands."""
    return _about(call, "watch", _snapshot, channel, _LEASE_MS)


def leave(call: CallKey, channel: str) -> Operation[Refused | None]:
    """A watcher has gone; where it was the last, the call's policy begins to apply."""
    return _about(call, "leave", parse_refused, channel)


def credit(call: CallKey, count: int) -> Operation[Refused | None]:
    """A watcher has read so many items."""
    return _about(call, "credit", parse_refused, count)


def trim(call: CallKey, attempt: int, count: int, size: int) -> Operation[Refused | None]:
    """Lets go of the first `count` items, `size` bytes in all: they were read."""
    return _about(call, "trim", parse_refused, attempt, count, size)


def sweep(partition: int, consumed: Collection[str], limit: int = 100) -> Operation[Swept]:
    """Ends what is due in a partition and drops what is past its retention.

    `consumed` are the queues that live workers consume.
    """
    return Operation(
        "sweep", partition_prefix(partition), (limit, json.dumps(sorted(consumed))), _swept
    )


def evict(partition: int) -> Operation[int]:
    """Drops a partition's oldest finished call that nobody reads; the bytes that it held."""
    return Operation("evict", partition_prefix(partition), (), lambda reply: int(reply[0]))


def _about(
    call: CallKey,
    name: str,
    parse: Callable[[Reply], T],
    *arguments: Argument,
    put: Put | None = None,
) -> Operation[T]:
    return Operation(name, call.partition, (str(call), *arguments), parse, put)


def _ms(seconds: float | None, at_least: int = 0) -> int:
    return 0 if seconds is None else max(at_least, round(seconds * 1000))


def parse_refused(reply: Reply) -> Refused | None:
    """The reply of an operation that either has its place or has not."""
    return None if reply[0] in (b"OK", b"NEW") else Refused(reply[0].decode())


def _renewed(reply: Reply) -> list[str | None]:
    return [None if word == b"OK" else word.decode() for word in reply]


def _begun(reply: Reply) -> Begun | Refused:
    if reply[0] != b"OK":
        return Refused(reply[0].decode())
    _, method, request, inputs, metadata, timeout, item_limit, window, live, fingerprint = reply
    return Begun(
        method.decode(),
        request,
        None if inputs == b"-1" else int(inputs),
        metadata,
        None if timeout == b"-1" else int(timeout) / 1000,
        int(item_limit),
        int(window),
        live == b"1",
        fingerprint.decode(),
    )


def _flow(reply: Reply) -> Flow | Refused:
    if reply[0] != b"OK":
        return Refused(reply[0].decode())
    return Flow(int(reply[1]), int(reply[2]))


def _snapshot(reply: Reply) -> CallSnapshot | Refused:
    if reply[0] != b"OK":
        return Refused(reply[0].decode())
    _, method, digest, ahead, sent, first, outcome, initial, transient, receiving, *ending = reply
    words = [word.decode() for word in ending]
    terminal = State(words[0]).terminal
    return CallSnapshot(
        method.decode(),
        digest.decode(),
        State(words[0]),
        int(words[3]),
        int(ahead),
        int(words[2]),
        int(sent),
        int(first),
        initial,
        transient,
        receiving == b"1",
        parse_ending(words, outcome) if terminal else None,
    )


def _swept(reply: Reply) -> Swept:
    reviewed, dropped, held, oldest = reply
    return Swept(int(reviewed), int(dropped), int(held), int(float(oldest)) if oldest else None)
