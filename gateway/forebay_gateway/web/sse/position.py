"""A caller's position in a call: ids of events, and the `Last-Event-ID` sent back. Pure.

The id of an item is its ordinal: `0`, `1`, `2`. If the URL names no call, the id names it, too:
`0192…/2`, so that a browser that reconnects to the same URL finds its call. Transient items have no
id. The last event of a call has the id `end`: a browser that reconnects with it gets status 204,
and stops.
"""

from __future__ import annotations

from dataclasses import dataclass

from forebay.errors import FieldViolation, InvalidRequest
from forebay_backends.ledger.keys import is_call_id

END = "end"
_HEADER = "last-event-id"
_MOST_DIGITS = 15


@dataclass(frozen=True, slots=True)
class Position:
    """A position; `call_id` is None if the id names no call, `seen` counts the caller's items."""

    call_id: str | None = None
    seen: int = 0
    is_end: bool = False


START = Position()


def read_position(last_event_id: str) -> Position:
    """The position that an event id describes; raises InvalidRequest for malformed ids."""
    if not last_event_id:
        return START
    if last_event_id == END:
        return Position(is_end=True)
    call_id, slash, ordinal = last_event_id.rpartition("/")
    if slash and not is_call_id(call_id):
        raise _invalid(last_event_id)
    if not ordinal and slash:
        return Position(call_id)
    if not (ordinal.isascii() and ordinal.isdecimal() and len(ordinal) <= _MOST_DIGITS):
        raise _invalid(last_event_id)
    return Position(call_id or None, int(ordinal) + 1)


def event_id(call_id: str | None, seen: int) -> str:
    """The id for a caller that has seen `seen` items.

    `call_id` is None if the caller's URL names the call; then the id is empty until the first item.
    """
    ordinal = str(seen - 1) if seen else ""
    return ordinal if call_id is None else f"{call_id}/{ordinal}"


def _invalid(value: str) -> InvalidRequest:
    description = f"is {value[:100]!r}; expected the id of an event of this gateway"
    violation = FieldViolation(_HEADER, description)
    return InvalidRequest(f"{_HEADER} {description}", violations=(violation,))
