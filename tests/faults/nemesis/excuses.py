"""Cases in which a handler may work although its call has ended. Pure.

A worker stops a call's handler within `ALLOWED_S` of the call's end: the cancel grace, and
`SLACK_S` for a check of the ledger and a busy machine. This does not count time in which
the worker could not be notified: while the worker or Redis was stopped, down or cut off,
and `RECOVERY_S` after that, for the detection of half-open connections and reconnecting.
So a beat of a handler is a breach if the whole `ALLOWED_S` before it was after the call's
end and outside such times.
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
    """The first beat without an excuse; None if all have one."""
    for beat in beats:
        if beat <= end_s + ALLOWED_S:
            continue
        if not hindered(windows, (member, REDIS), beat - ALLOWED_S, beat):
            return beat
    return None
