"""The life of a call, as one table.

A call is RECEIVING while its requests are still being spooled, QUEUED until a
worker begins it, RUNNING until its handler ends; then it is in one of four
terminal states, reached once and never left. A call whose requests are one
message starts at QUEUED, and so does a live one, whose requests come while it
waits and runs.

The table is the only place that says which event leads from where to where: the
ledger's scripts are given it (`lua_table`), and no script names a successor
state of its own.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a call stands; the names are those of `forebay.v1.CallState`."""

    RECEIVING = "RECEIVING"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"

    @property
    def terminal(self) -> bool:
        """Whether the state is never left."""
        return not TRANSITIONS[self]


class Event(StrEnum):
    """What may happen to a call."""

    RECEIVE = "receive"  # a request message was spooled; of a live call, later too
    COMPLETE = "complete"  # the requests have ended; likewise
    CLAIM = "claim"  # a worker has the message and means to begin
    BEGIN = "begin"  # a worker starts the handler
    EMIT = "emit"  # the handler yielded an item
    LAPSE = "lapse"  # a claim was not renewed, and the call may move
    SUCCEED = "succeed"  # the handler ended with OK
    FAIL = "fail"  # the call ended with another status
    CANCEL = "cancel"  # somebody cancelled, or the last watcher left
    EXPIRE = "expire"  # the deadline passed


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.RECEIVING: {
        Event.RECEIVE: State.RECEIVING,
        Event.COMPLETE: State.QUEUED,
        Event.FAIL: State.FAILED,
        Event.CANCEL: State.CANCELLED,
        Event.EXPIRE: State.EXPIRED,
    },
    State.QUEUED: {
        Event.RECEIVE: State.QUEUED,
        Event.COMPLETE: State.QUEUED,
        Event.CLAIM: State.QUEUED,
        Event.BEGIN: State.RUNNING,
        Event.LAPSE: State.QUEUED,
        Event.FAIL: State.FAILED,
        Event.CANCEL: State.CANCELLED,
        Event.EXPIRE: State.EXPIRED,
    },
    State.RUNNING: {
        Event.RECEIVE: State.RUNNING,
        Event.COMPLETE: State.RUNNING,
        Event.EMIT: State.RUNNING,
        Event.LAPSE: State.QUEUED,
        Event.SUCCEED: State.SUCCEEDED,
        Event.FAIL: State.FAILED,
        Event.CANCEL: State.CANCELLED,
        Event.EXPIRE: State.EXPIRED,
    },
    State.SUCCEEDED: {},
    State.FAILED: {},
    State.CANCELLED: {},
    State.EXPIRED: {},
}


def next_state(state: State, event: Event) -> State | None:
    """The state that the event leads to; None where it has no place there."""
    return TRANSITIONS[state].get(event)


def lua_table() -> str:
    """The table as a Lua expression: state name to event name to state name."""
    rows = (
        f"{state} = {{{', '.join(f'{event} = {str(target)!r}' for event, target in row.items())}}}"
        for state, row in TRANSITIONS.items()
    )
    return "{" + ", ".join(rows) + "}"
