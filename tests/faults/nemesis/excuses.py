"""When work may go on although its call is over: nobody could be told. Pure.

A worker stops a call's work within `ALLOWED_S` of the call's end (the cancel grace, and
`SLACK_S` for a look into the ledger and a busy machine), **not counting** time in which
it could not be told: while the worker itself or Redis was stopped, down or cut off, and
`RECOVERY_S` after that, in which connections that are half open are noticed and made
anew. So a beat of a handler is a breach where the `ALLOWED_S` before it all lay after
the call's end and outside such times.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults.nemesis.history import Window

CANCEL_GRACE_S = 2.0
SLACK_S = 8.0
RECOVERY_S = 15.0
ALLOWED_S = CANCEL_GRACE_S + SLACK_S
REDIS = "redis"


def hindered(windows: Sequence[Window], members: Sequence[str], from_s: float, to_s: float) -> bool:
    """Whether any of the members was harmed, or recovering, in that time."""
    return any(
        window.member in members and window.start_s <= to_s and window.end_s + RECOVERY_S >= from_s
        for window in windows
    )


def past_its_end(
    beats: Sequence[float], end_s: float, member: str, windows: Sequence[Window]
) -> float | None:
    """The first beat for which there is no excuse; None where there is none."""
    for beat in beats:
        if beat <= end_s + ALLOWED_S:
            continue
        if not hindered(windows, (member, REDIS), beat - ALLOWED_S, beat):
            return beat
    return None
