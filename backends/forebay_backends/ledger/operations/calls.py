"""A gateway's operations on one call."""

from __future__ import annotations

from dataclasses import dataclass

from forebay_backends.ledger.frames import Ending, parse_ending
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import Event, State, known_state
from forebay_backends.ledger.operations.base import (
    LEASE_MS,
    Argument,
    Operation,
    Push,
    Refusal,
    Refused,
    Reply,
    about,
    milliseconds,
    parse_refused,
    refused,
)


@dataclass(frozen=True)
class ExistingCall:
    """A call that has the id already: its method, and the SHA-256 of its first request."""

    method: str
    digest: str


@dataclass(frozen=True)
class Start:
    """When a call is to start: so many seconds after it is accepted, or at a time, s since 1970.

    Both are by the ledger's clock.
    """

    seconds: float
    is_relative: bool

    @property
    def word(self) -> str:
        """The word that the script gets."""
        return f"{'+' if self.is_relative else ''}{milliseconds(self.seconds)}"


@dataclass(frozen=True)
class NewCall:
    """The record of a new call. Times in seconds; None if there is no limit.

    A call with a `start` is delayed until then. `on_end` is a serialized `forebay.v1.OnEnd`.
    `cache` is the key by which identical calls join the run, empty if none do; `cache_ttl_s` is for
    how long they may after its success.
    """

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
    traceparent: str = ""
    is_sampled: bool = False
    caller: bytes = b""
    start: Start | None = None
    on_end: bytes = b""
    cache: str = ""
    cache_ttl_s: float = 0.0
    request_bytes: int = 0
    """Without what a seal adds."""

    @property
    def is_queued_at_once(self) -> bool:
        """Whether the call has all that it waits for but a worker."""
        return not self.receiving and self.start is None


@dataclass(frozen=True)
class CallSnapshot:
    """The state of a call, for a watcher. The ledger has its items `first` to `count` - 1.

    `sent` is the size in bytes of all items. `receiving`: whether further requests may come.
    `credit_wait_s`: how long the handler has waited for watchers to read, 0 if it does not.
    `cache`: the cache key of a run that identical calls share, else empty.
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
    credit_wait_s: float = 0.0
    traceparent: str = ""
    cache: str = ""


def accept(
    call: CallKey,
    new: NewCall,
    channel: str,
    push: Push,
    *,
    piggybacked: bool = False,
    held: bool = False,
) -> Operation[ExistingCall | None]:
    """Writes the record and pushes the task message; `ExistingCall` if the id is in use.

    The gateway of the channel watches the call; an empty channel means that none does. A
    `piggybacked` call has no message of its own: another call's message names it. The gateway
    sends the message of a `held` call later; see `held.py`.
    """
    arguments = accept_arguments(new, channel, push, piggybacked=piggybacked, held=held)
    return about(call, "calls/accept", accepted_or_known, *arguments, waits_for_replicas=True)


def accept_arguments(
    new: NewCall, channel: str, push: Push, *, piggybacked: bool = False, held: bool = False
) -> tuple[Argument, ...]:
    """The arguments of the script, after the call."""
    fields: dict[str, Argument] = {
        "method": new.method,
        "task": new.task,
        "digest": new.digest,
        "item_limit_bytes": new.item_limit_bytes,
        "window_bytes": new.window_bytes,
        "retention_ms": milliseconds(new.retention_s),
        "attempts_limit": new.attempts_limit,
    }
    fields |= {name: value for name, value in _unset_if_default(new).items() if value}
    if new.receiving or new.live:
        fields["request_count"] = 0
    else:
        fields["request"] = new.request
        fields["request_bytes"] = new.request_bytes
    if new.live:
        fields |= {"live_requests": "open", "idle_limit_ms": milliseconds(new.idle_s, at_least=1)}
    if new.is_sampled:
        fields["traceparent"] = new.traceparent
    state = State.RECEIVING if new.receiving else State.QUEUED
    if new.start is not None:
        state = State.DELAYED
    return (
        channel,
        LEASE_MS,
        str(state),
        milliseconds(new.timeout_s, at_least=1),
        milliseconds(new.queue_wait_s),
        push.queue_list,
        push.message,
        new.queue,
        "held" if held else int(piggybacked),
        "" if new.start is None else new.start.word,
        *(part for pair in fields.items() for part in pair),
    )


def accepted_or_known(reply: Reply) -> ExistingCall | None:
    """Parses the reply of `accept`."""
    return ExistingCall(reply[1].decode(), reply[2].decode()) if reply[0] == b"KNOWN" else None


def _unset_if_default(new: NewCall) -> dict[str, Argument]:
    """The fields that mean 0 or nothing where they are not set."""
    return {
        "priority": new.priority,
        "metadata": new.metadata,
        "caller": new.caller,
        "on_end": new.on_end,
        "run_limit_ms": milliseconds(new.run_limit_s, at_least=1),
        "linger_ms": milliseconds(new.linger_s),
        "detach": int(new.detach),
        "may_run_again": int(new.may_run_again),
        "deterministic": int(new.deterministic),
        "fingerprint": new.fingerprint,
        "cache": new.cache,
        "cache_ttl_ms": milliseconds(new.cache_ttl_s),
    }


def discard(call: CallKey) -> Operation[Refused | None]:
    """Deletes a call whose message could not be sent.

    Refused if a worker has the call, or if another caller attached to it.
    """
    return about(call, "calls/discard", parse_refused)


def end(
    call: CallKey, event: Event, reason: str, outcome: bytes = b""
) -> Operation[Refused | None]:
    """Ends the call, on behalf of anyone but its worker."""
    return about(call, "calls/end", parse_refused, str(event), reason, outcome)


def cancel(call: CallKey) -> Operation[Refused | None]:
    """Ends the call as CANCELLED and stops its worker."""
    return end(call, Event.CANCEL, "CANCELLED")


def attach(call: CallKey, channel: str) -> Operation[CallSnapshot | Refused]:
    """Like `watch`, for another caller than the first: from then on `discard` is refused."""
    return about(call, "calls/watch", _snapshot, channel, LEASE_MS, 1)


def watch(call: CallKey, channel: str) -> Operation[CallSnapshot | Refused]:
    """Registers or renews a watch, and returns the state of the call."""
    return about(call, "calls/watch", _snapshot, channel, LEASE_MS)


def leave(call: CallKey, channel: str) -> Operation[Refused | None]:
    """Removes a watcher; after the last, the call is cancelled or detached, as its route says."""
    return about(call, "calls/leave", parse_refused, channel)


def credit(call: CallKey, count: int) -> Operation[Refused | None]:
    """A watcher has read `count` items."""
    return about(call, "calls/credit", parse_refused, count)


def _snapshot(reply: Reply) -> CallSnapshot | Refused:
    if reply[0] != b"OK":
        return refused(reply[0])
    _, method, digest, ahead, sent, first, outcome, initial, transient, *words_of_state = reply
    traceparent, receiving, credit_wait_ms, cache, *words = map(bytes.decode, words_of_state)
    state = known_state(words[0])
    if state is None:
        return Refused(Refusal.NEWER)
    return CallSnapshot(
        method.decode(),
        digest.decode(),
        state,
        int(words[3]),
        int(ahead),
        int(words[2]),
        int(sent),
        int(first),
        initial,
        transient,
        receiving == "1",
        parse_ending(words, outcome) if state.terminal else None,
        int(credit_wait_ms) / 1000,
        traceparent,
        cache,
    )
