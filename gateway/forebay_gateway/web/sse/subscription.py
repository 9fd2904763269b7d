"""Which call a request for events starts or attaches to, and from which item on. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from forebay.errors import FieldViolation, InvalidRequest
from forebay.metadata import CALL_ID, RESUME_FROM
from forebay_gateway.web.sse.position import Position


@dataclass(frozen=True, slots=True)
class CallKind:
    """What a method's calls are, as far as events need it.

    `is_resumable` if they have records, so that callers can attach to them. `transient` is the
    field of transient items, and empty if there is none.
    """

    is_resumable: bool = False
    transient: str = ""


@dataclass(frozen=True, slots=True)
class Subscription:
    """How a caller follows one call.

    `metadata` goes with the request. `call_id` is the call's, where events have to name it.
    """

    seen: int = 0
    call_id: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    has_ids: bool = False


def subscribe(
    kind: CallKind,
    url_call_id: str | None,
    position: Position,
    *,
    streams: bool,
    new_id: Callable[[], str],
) -> Subscription:
    """The subscription of a request; raises InvalidRequest if it is impossible.

    A stream whose URL names no call gets an id from `new_id`: a caller's own id keeps the call
    alive while the browser reconnects (the route's `linger`).
    """
    if not kind.is_resumable:
        if position.seen or position.call_id or url_call_id:
            raise _not_resumable("call_id" if url_call_id else "last-event-id")
        return Subscription()
    call_id = url_call_id or position.call_id
    if position.call_id and url_call_id and position.call_id != url_call_id:
        raise _invalid("last-event-id", "is of another call than call_id")
    if call_id is None and position.seen:
        raise _invalid("call_id", "is missing: last-event-id does not name the call")
    if call_id is None and not streams:
        return Subscription()
    named_by_events = url_call_id is None
    call_id = call_id or new_id()
    resume = ((RESUME_FROM, str(position.seen)),) if position.seen and streams else ()
    return Subscription(
        position.seen,
        call_id if named_by_events else None,
        ((CALL_ID, call_id), *resume),
        has_ids=True,
    )


def _not_resumable(field: str) -> InvalidRequest:
    return _invalid(field, "is for calls that have a record: this method's have none to resume")


def _invalid(field: str, description: str) -> InvalidRequest:
    violation = FieldViolation(field, description)
    return InvalidRequest(f"{field} {description}", violations=(violation,))
