"""When a call is to start, as its metadata says it. Pure, but for the clock of a time in a date."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from forebay.deadline import Deadline
from forebay.durations import parse_duration_s
from forebay.errors import FieldViolation, InvalidRequest
from forebay.metadata import CALL_ID, ON_DISCONNECT, START_AFTER, START_AT
from forebay.routes import Method
from forebay_backends.ledger.operations.calls import Start

LONGEST_DELAY_S = 30 * 86400.0
"""The longest delay of a call's start."""
_SKEW_S = 60.0
"""How far the caller's clock may be ahead."""


def read_start(
    text: str, *, is_relative: bool, now_s: Callable[[], float] = time.time
) -> Start | None:
    """The start of a duration or of a date in RFC 3339; None: at once.

    Raises ValueError, whose message follows the name of the metadata key.
    """
    try:
        start = Start(parse_duration_s(text) if is_relative else _date_s(text), is_relative)
    except ValueError as error:
        raise ValueError(f"is {text!r}; {error}") from error
    left_s = delay_s(start, now_s)
    if left_s > LONGEST_DELAY_S + (0.0 if is_relative else _SKEW_S):
        raise ValueError(f"is {text!r}; a call can start at most 30 days later")
    return start if left_s else None


def delay_s(start: Start, now_s: Callable[[], float] = time.time) -> float:
    """In how many seconds the call starts, by this host's clock if a date says when."""
    return start.seconds if start.is_relative else max(0.0, start.seconds - now_s())


def check_start(method: Method, call_id: str | None, start: Start, *, has_tenant: bool) -> None:
    """Raises InvalidRequest if calls of the method can't start later."""
    key = START_AFTER if start.is_relative else START_AT
    if method.client_streaming:
        raise _unfit(key, "is for methods with one request: this one gets a stream of them")
    if method.route.ephemeral and call_id is None:
        raise _unfit(
            key,
            f"needs {CALL_ID}: without an id of the caller's own, calls of this method are "
            "kept in the gateway's memory",
        )
    if method.is_plain and has_tenant:
        raise _unfit(
            key,
            "is not for plain tasks of tenants: their workers would keep the task, outside of the "
            "tenant's queue",
        )


def check_delay(
    method: Method, start: Start, deadline: Deadline, *, detach: bool, max_eta_s: float
) -> None:
    """Raises InvalidRequest if the new call can't start so late."""
    key = START_AFTER if start.is_relative else START_AT
    late_s = delay_s(start)
    if not detach and deadline.remaining_s() <= late_s:
        raise _unfit(
            key,
            "is after the call's deadline; let the call go on without its caller, by "
            f"{ON_DISCONNECT}: detach, or give it a later deadline",
        )
    if method.is_plain and late_s > max_eta_s:
        raise _unfit(
            key,
            f"is in {late_s:.0f} s; plain tasks can start at most {max_eta_s:g} s later, since "
            "their broker would deliver the task to a second worker after a while",
        )


def _unfit(key: str, description: str) -> InvalidRequest:
    return InvalidRequest(f"{key} {description}", violations=(FieldViolation(key, description),))


def _date_s(text: str) -> float:
    """Seconds since 1970."""
    try:
        date = datetime.fromisoformat(text)
        if date.tzinfo is not None and len(text) > len("2026-01-31"):
            return date.timestamp()
    except (ValueError, OverflowError):
        pass
    raise ValueError("expected a date in RFC 3339 with its time zone, such as 2026-01-31T08:00:00Z")
