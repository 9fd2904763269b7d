"""The life of a call, as one table.

A call is RECEIVING while its requests are being stored, QUEUED until a worker begins it, and
RUNNING until its handler ends. It ends in one of four terminal states, which it never leaves. A
call with a single request starts as QUEUED. So does a live call, whose requests come while it waits
and runs. A call that is to start later is DELAYED until then.

The ledger's scripts use this table (`lua_table`); no script chooses the next state itself.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """The state of a call, named as in `forebay.v1.CallState` without the prefix CALL_STATE."""

    RECEIVING = "RECEIVING"
    DELAYED = "DELAYED"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"

    @property
    def terminal(self) -> bool:
        """Whether the call has ended."""
        return not TRANSITIONS[self]


def known_state(word: str) -> State | None:
    """The state of a record; None for a word of a newer version."""
    return State(word) if word in State.__members__ else None


class Event(StrEnum):
    """An event in the life of a call."""

    RECEIVE = "receive"  # a request was stored; for a live call, also in QUEUED and RUNNING
    COMPLETE = "complete"  # the requests have ended; for a live call, also in QUEUED and RUNNING
    START = "start"  # a delayed call is due
    CLAIM = "claim"  # a worker has received the message and will begin the call
    BEGIN = "begin"  # a worker starts the handler
    EMIT = "emit"  # the handler yielded an item
    LAPSE = "lapse"  # a claim was not renewed, or was released
    SUCCEED = "succeed"  # the handler ended with OK
    FAIL = "fail"  # the call ended with another status
    CANCEL = "cancel"  # a caller cancelled, or the last watcher disconnected
    EXPIRE = "expire"  # the deadline passed


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.RECEIVING: {
        Event.RECEIVE: State.RECEIVING,
        Event.COMPLETE: State.QUEUED,
        Event.FAIL: State.FAILED,
        Event.CANCEL: State.CANCELLED,
        Event.EXPIRE: State.EXPIRED,
    },
    State.DELAYED: {
        Event.START: State.QUEUED,
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
    """The state that the event leads to; None if it does not apply."""
    return TRANSITIONS[state].get(event)


def lua_table() -> str:
    """`TRANSITIONS` as a Lua expression: a table of tables, by state and event."""
    rows = (
        f"{state} = {{{', '.join(f'{event} = {str(target)!r}' for event, target in row.items())}}}"
        for state, row in TRANSITIONS.items()
    )
    return "{" + ", ".join(rows) + "}"
