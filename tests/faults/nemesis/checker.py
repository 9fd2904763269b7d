"""Checks the history of a battle against the promises. Pure: a breach is a value.

The promises are those of the design's section 4; each function below is one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from tests.faults.nemesis.excuses import REDIS, SLACK_S, hindered, past_its_end
from tests.faults.nemesis.history import Attach, Call, Viewer, Window
from tests.faults.nemesis.plans import Kind
from tests.survival.v1.survival_pb2 import Part
from tests.survival.work_log import Run

CLOCKS_DIFFER_S = 0.1
"""The possible error of converted times of the ledger's clock."""
LOST_AT_MOST_S = 2.0
"""The time whose data a killed server may lose if it syncs once a second."""

TOLD_WITHIN_S = 10.0
"""A gateway reads the ledger every 5 s, even without events; the rest is for a busy machine."""

_CODES = {"SUCCEEDED": "OK", "CANCELLED": "CANCELLED", "EXPIRED": "DEADLINE_EXCEEDED"}
_PASSING = ("", "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED")
"""Errors of an RPC that do not show how its call ended; a retry may help."""
_LOST = ("NOT_FOUND", "DATA_LOSS")


@dataclass(frozen=True)
class Breach:
    """A promise that was not kept."""

    call: str
    promise: str
    what: str


@dataclass(frozen=True)
class History:
    """The data that the checker uses; `forgets` if the server syncs once a second."""

    calls: Sequence[Call]
    runs: Sequence[Run]
    windows: Sequence[Window]
    forgets: bool = False


def check(history: History) -> list[Breach]:
    """All breaches, call by call."""
    runs: dict[str, list[Run]] = defaultdict(list)
    for run in history.runs:
        runs[run.call].append(run)
    return [breach for call in history.calls for breach in _check_call(call, runs, history)]


def _check_call(
    call: Call, runs: Mapping[str, Sequence[Run]], history: History
) -> Iterator[Breach]:
    if not call.plan.kind.durable:
        yield from _ephemeral(call)
        return
    own = runs.get(call.plan.id, ())
    may_be_lost = history.forgets and _was_fresh(call, history.windows)
    yield from _one_end(call, may_be_lost)
    yield from _allowed_end(call)
    yield from _whole_streams(call)
    yield from _run_as_often_as_allowed(call, own)
    yield from _stopped_in_time(call, own, history.windows)
    yield from _told_in_time(call, history.windows)


def _was_fresh(call: Call, windows: Sequence[Window]) -> bool:
    """Whether something of the call may have been written just before Redis was killed."""
    ended = [attach.ended_s for attach in call.attaches if attach.ended_s]
    first = min((attach.at_s for attach in call.attaches), default=0.0)
    return any(
        window.member == REDIS
        and window.harm.startswith("kill")
        and first <= window.end_s
        and max(ended, default=window.start_s) >= window.start_s - LOST_AT_MOST_S
        for window in windows
    )


def _one_end(call: Call, may_be_lost: bool) -> Iterator[Breach]:
    """An accepted call reaches exactly one terminal state, and all callers receive the same."""
    promise, record = "one end", call.record
    if not call.accepted:
        return
    if record is None:
        if not may_be_lost:
            yield Breach(call.plan.id, promise, "it was accepted, and there is no record")
        return
    if record.finished_s is None:
        yield Breach(call.plan.id, promise, f"it is still {record.state}")
        return
    for viewer in call.checks:
        if viewer.end is None:
            yield Breach(call.plan.id, promise, f"nobody tells how it ended: {_last(viewer)}")
    expected = _CODES.get(record.state)
    for end in call.endings:
        reported = end.code if expected else end.reason
        if reported != (expected or record.reason or reported):
            yield Breach(call.plan.id, promise, f"{end.ending} told of {record}")
    if len({end.ending for end in call.endings}) > 1:
        yield Breach(call.plan.id, promise, f"told {[end.ending for end in call.endings]}")
    for attach in call.attaches:
        if not attach.final and attach.code not in _PASSING + (_LOST if may_be_lost else ()):
            yield Breach(call.plan.id, promise, f"an RPC ended with {attach.ending}")


def _allowed_end(call: Call) -> Iterator[Breach]:
    """A call ends by its handler, its caller, its deadline, or the loss of its worker."""
    promise, record, plan = "allowed end", call.record, call.plan
    if record is None or record.finished_s is None:
        return
    finished_s = record.finished_s
    if call.cancelled_s is not None and finished_s > call.cancelled_s + CLOCKS_DIFFER_S:
        late_s = finished_s - call.cancelled_s
        yield Breach(plan.id, promise, f"{record.state} {late_s:.1f} s after it was cancelled")
    match record.state:
        case "SUCCEEDED":
            allowed = True
        case "CANCELLED":
            allowed = call.cancel_asked_s is not None or plan.leave_after_s is not None
        case "EXPIRED":
            due = record.deadline_s
            allowed = due is not None and finished_s >= due - CLOCKS_DIFFER_S
        case _:
            allowed = record.reason == "WORKER_LOST" and _may_be_lost_with_its_worker(call)
    if not allowed:
        yield Breach(plan.id, promise, f"a {plan.kind} ended as {record}")


def _may_be_lost_with_its_worker(call: Call) -> bool:
    record = call.record
    assert record is not None
    if call.plan.kind.has_effects:
        return record.was_begun
    return call.plan.kind.varies and record.count > 0


def _whole_streams(call: Call) -> Iterator[Breach]:
    """Every stream is complete, in order, without duplicates, and has the right bytes."""
    promise, plan = "whole streams", call.plan
    for viewer in (*call.viewers, *call.checks):
        wrong = _first_wrong(call, viewer)
        if wrong is not None:
            yield Breach(plan.id, promise, f"item {wrong} of {len(viewer.items)} is wrong")
        end = viewer.end
        if end is not None and end.code == "OK" and len(viewer.items) != plan.response_count():
            what = f"OK after {len(viewer.items)} of {plan.response_count()} items"
            yield Breach(plan.id, promise, what)
    if call.record is None or call.record.finished_s is None:
        return
    for viewer in call.checks:
        if viewer.end is not None and len(viewer.items) != call.record.count:
            what = f"{len(viewer.items)} items of {call.record.count} on record"
            yield Breach(plan.id, promise, what)
    if any(len(viewer.items) > call.record.count for viewer in call.viewers):
        yield Breach(plan.id, promise, "somebody has more items than are on record")


def _first_wrong(call: Call, viewer: Viewer) -> int | None:
    reference = next((other.items for other in (*call.checks, *call.viewers) if other.items), [])
    run = _run_of(reference[0]) if reference and call.plan.kind.varies else ""
    for index, item in enumerate(viewer.items):
        if index >= call.plan.response_count() or item != call.plan.response(index, run):
            return index
    return None


def _run_of(item: bytes) -> str:
    try:
        return Part.FromString(item).run
    except DecodeError:
        return "garbage"


def _run_as_often_as_allowed(call: Call, runs: Sequence[Run]) -> Iterator[Breach]:
    """A call with side effects begins at most once; a call that succeeded ran to its end."""
    promise, plan = "runs", call.plan
    if plan.kind.has_effects and len(runs) > 1:
        yield Breach(plan.id, promise, f"a {plan.kind} was begun {len(runs)} times: {_where(runs)}")
    succeeded = any(end.code == "OK" for end in call.endings)
    if succeeded and not any(run.ended for run in runs):
        yield Breach(plan.id, promise, "it succeeded, and no run came to its end")


def _stopped_in_time(
    call: Call, runs: Sequence[Run], windows: Sequence[Window]
) -> Iterator[Breach]:
    """No handler works after its call's end and the grace, apart from the cases in `excuses`."""
    record = call.record
    if record is None or record.finished_s is None:
        return
    end_s = min(record.finished_s, record.deadline_s or record.finished_s)
    for run in runs:
        beat = past_its_end(run.beats, end_s, run.member, windows)
        if beat is not None:
            what = f"{record.state}, and {run.member} works on {beat - end_s:.1f} s later"
            yield Breach(call.plan.id, "stopped in time", what)
    due = record.deadline_s
    if due is not None and record.finished_s > due + SLACK_S:
        members = (REDIS, *{window.member for window in windows if "gateway" in window.member})
        if not hindered(windows, members, due, record.finished_s):
            what = f"{record.state} {record.finished_s - due:.1f} s after its deadline"
            yield Breach(call.plan.id, "stopped in time", what)


def _told_in_time(call: Call, windows: Sequence[Window]) -> Iterator[Breach]:
    """A waiting caller is notified of the end, unless its gateway or Redis was harmed."""
    record = call.record
    if record is None or record.finished_s is None:
        return
    for attach in (
        attach for viewer in (*call.viewers, *call.checks) for attach in viewer.attaches
    ):
        since_s = max(record.finished_s, attach.at_s)
        late_s = attach.ended_s - since_s
        members = (attach.gateway, REDIS)
        if late_s > TOLD_WITHIN_S and not hindered(windows, members, since_s, attach.ended_s):
            what = f"{attach.gateway} told {attach.ending} {late_s:.1f} s after the end"
            yield Breach(call.plan.id, "notified in time", what)


def _ephemeral(call: Call) -> Iterator[Breach]:
    """A call without a record may fail, and is never answered wrongly."""
    for attach in call.attaches:
        if attach.code == "OK" and attach.items != [call.plan.response(0)]:
            yield Breach(call.plan.id, "whole streams", "an ephemeral call has another's response")
        if attach.code not in ("OK", *_PASSING):
            yield Breach(call.plan.id, "allowed end", f"an ephemeral call: {attach.ending}")


def _last(viewer: Viewer) -> str:
    last: Attach | None = viewer.attaches[-1] if viewer.attaches else None
    return f"{last.ending}, attached {last.attached!r}" if last else "nobody asked"


def _where(runs: Sequence[Run]) -> str:
    return ", ".join(f"{run.member}/{run.pid} at {run.beats[0]:.2f}" for run in runs if run.beats)


def by_kind(calls: Sequence[Call]) -> dict[Kind, int]:
    """The number of calls of each kind."""
    return {kind: sum(call.plan.kind is kind for call in calls) for kind in Kind}
