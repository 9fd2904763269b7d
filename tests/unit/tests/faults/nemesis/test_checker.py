"""The nemesis' checker itself: good histories pass, and every bad one is caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.nemesis.checker import TOLD_WITHIN_S, Breach, History, check
from tests.faults.nemesis.excuses import ALLOWED_S, RECOVERY_S
from tests.faults.nemesis.history import Attach, Call, Record, Viewer, Window
from tests.faults.nemesis.plans import Kind, Plan
from tests.survival.work_log import Run

DURABLE = [kind for kind in Kind if kind.durable]
STREAMING = [kind for kind in DURABLE if kind.streams]
BEGUN_S, FINISHED_S = 100.0, 103.0
DROPPED = "gateway-1 was killed"


def attach(items: list[bytes], resume_from: int = 0, *, final: bool = True) -> Attach:
    """An RPC that delivered the items; without an end, its connection broke."""
    code, reason = ("OK", "") if final else ("UNAVAILABLE", DROPPED)
    return Attach(
        BEGUN_S, "gateway-1", resume_from, "running", items, code, reason, final, FINISHED_S
    )


def viewer(items: list[bytes], cuts: tuple[int, ...] = ()) -> Viewer:
    """A caller whose connection broke after that many items, each time."""
    bounds = [0, *sorted(min(cut, len(items)) for cut in cuts), len(items)]
    return Viewer(
        [
            attach(items[start:end], start, final=number == len(bounds) - 1)
            for number, (start, end) in enumerate(pairwise(bounds), 1)
        ]
    )


def good_call(kind: Kind, count: int = 3, cuts: tuple[int, ...] = ()) -> tuple[Call, Run]:
    """A call that succeeded, and the run that did it."""
    plan = Plan("id", kind, 0.0, count)
    run = Run("r", "id", "worker-1", 1, [BEGUN_S, BEGUN_S + 1], ended=True)
    items = [plan.response(index, run.id) for index in range(plan.response_count())]
    if not kind.varies:
        items = [plan.response(index) for index in range(plan.response_count())]
    record = Record("SUCCEEDED", "", len(items), 1, True, BEGUN_S, None, FINISHED_S)
    viewers = [viewer(items, cuts if kind.streams else ())]
    return Call(plan, viewers, record=record, checks=[viewer(items), viewer(items)]), run


def ended(call: Call, state: str, code: str, reason: str, items: int = 0) -> Call:
    """The call, ended in that way after that many items."""
    assert call.record is not None
    call.record = replace(call.record, state=state, reason=reason, count=items)
    for one in (*call.viewers, *call.checks):
        last = one.attaches[-1]
        last.items = one.items[:items]
        last.code, last.reason = code, reason
        del one.attaches[:-1]
    return call


def breaches(call: Call, *runs: Run, windows: tuple[Window, ...] = ()) -> set[str]:
    """The promises that were broken."""
    return {breach.promise for breach in check(History([call], runs, windows))}


@given(
    st.sampled_from(DURABLE),
    st.integers(1, 30),
    st.lists(st.integers(0, 30), max_size=4).map(tuple),
)
def test_a_good_history_passes_however_often_it_was_cut(
    kind: Kind, count: int, cuts: tuple[int, ...]
) -> None:
    call, run = good_call(kind, count, cuts)
    assert breaches(call, run) == set()


def drop_item(items: list[bytes], at: int) -> None:
    del items[at]


def repeat_item(items: list[bytes], at: int) -> None:
    items.insert(at, items[at])


def swap_items(items: list[bytes], at: int) -> None:
    other = at - 1 if at else at + 1
    items[at], items[other] = items[other], items[at]


def change_byte(items: list[bytes], at: int) -> None:
    items[at] = items[at][:-1] + bytes([items[at][-1] ^ 1])


@given(
    st.sampled_from(STREAMING),
    st.sampled_from([drop_item, repeat_item, swap_items, change_byte]),
    st.integers(2, 20),
    st.data(),
)
def test_an_item_dropped_repeated_swapped_or_changed_is_a_breach(
    kind: Kind, spoil: Callable[[list[bytes], int], None], count: int, data: st.DataObject
) -> None:
    call, run = good_call(kind, count)
    at = data.draw(st.integers(0, count - 1))
    spoilt = data.draw(st.sampled_from([*call.viewers, *call.checks]))
    spoil(spoilt.attaches[0].items, at)
    assert "whole streams" in breaches(call, run)


def test_items_of_two_attempts_that_differ_may_not_mix() -> None:
    call, run = good_call(Kind.VARY)
    call.viewers[0].attaches[0].items[1] = call.plan.response(1, "another run")
    assert breaches(call, run) == {"whole streams"}


def test_a_different_unary_response_is_a_breach() -> None:
    call, run = good_call(Kind.ASK)
    call.checks[1].attaches[0].items[0] = Plan("other", Kind.ASK, 0.0).response(0)
    assert breaches(call, run) == {"whole streams"}


def test_a_stream_that_ends_early_with_ok_is_a_breach() -> None:
    call, run = good_call(Kind.COUNT)
    call = ended(call, "SUCCEEDED", "OK", "", items=2)
    assert breaches(call, run) == {"whole streams"}


@pytest.mark.parametrize("kind", DURABLE)
def test_an_accepted_call_without_a_record_or_an_end_is_a_breach(kind: Kind) -> None:
    call, run = good_call(kind)
    assert call.record is not None
    call.record.finished_s = None
    assert breaches(call, run) == {"one end"}
    call.record = None
    assert breaches(call, run) >= {"one end"}


def test_a_call_that_was_never_accepted_needs_no_record() -> None:
    refused = Attach(BEGUN_S, "gateway-1", 0, code="UNAVAILABLE", reason="BACKEND_UNAVAILABLE")
    assert breaches(Call(Plan("id", Kind.ASK, 0.0), [Viewer([refused])])) == set()


def test_different_ends_for_two_callers_are_a_breach() -> None:
    call, run = good_call(Kind.COUNT)
    end = call.checks[1].attaches[-1]
    end.code, end.reason = "CANCELLED", "CANCELLED"
    assert "one end" in breaches(call, run)


def test_an_end_that_no_caller_receives_is_a_breach() -> None:
    call, run = good_call(Kind.COUNT)
    call.checks[0].attaches[-1].final = False
    assert breaches(call, run) == {"one end"}


@pytest.mark.parametrize("code", ["NOT_FOUND", "DATA_LOSS", "INTERNAL", "ALREADY_EXISTS"])
def test_an_rpc_with_a_forbidden_error_is_a_breach(code: str) -> None:
    call, run = good_call(Kind.COUNT, cuts=(1,))
    call.viewers[0].attaches[0].code = code
    assert breaches(call, run) == {"one end"}


def test_data_loss_is_allowed_only_just_after_redis_was_killed() -> None:
    call, run = good_call(Kind.COUNT, cuts=(1,))
    call.viewers[0].attaches[0].code = "DATA_LOSS"
    killed = Window("redis", "kill", FINISHED_S + 1, FINISHED_S + 2)
    assert not check(History([call], [run], [killed], forgets=True))
    assert check(History([call], [run], [killed], forgets=False))
    late = replace(killed, start_s=FINISHED_S + 3, end_s=FINISHED_S + 4)
    assert check(History([call], [run], [late], forgets=True))


@pytest.mark.parametrize("kind", [Kind.EFFECT, Kind.ACT])
def test_effects_that_began_twice_are_a_breach(kind: Kind) -> None:
    call, run = good_call(kind)
    assert breaches(call, run, replace(run, id="again")) == {"runs"}


def test_a_success_without_a_run_is_a_breach() -> None:
    call, run = good_call(Kind.ASK)
    assert breaches(call) == {"runs"}
    assert breaches(call, replace(run, ended=False)) == {"runs"}


@pytest.mark.parametrize(
    ("state", "code", "reason"),
    [
        ("CANCELLED", "CANCELLED", "CANCELLED"),  # nobody asked
        ("EXPIRED", "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),  # it has none
        ("FAILED", "UNAVAILABLE", "WORKER_LOST"),  # it may be run again
        ("FAILED", "UNAVAILABLE", "NO_WORKERS"),
        ("FAILED", "INTERNAL", "HANDLER_FAILED"),
    ],
)
def test_an_unjustified_end_is_a_breach(state: str, code: str, reason: str) -> None:
    call, run = good_call(Kind.COUNT)
    assert breaches(ended(call, state, code, reason), run) == {"allowed end"}


def test_a_lost_worker_ends_a_begun_call_with_effects() -> None:
    call, run = good_call(Kind.EFFECT)
    call = ended(call, "FAILED", "ABORTED", "WORKER_LOST")
    assert breaches(call, run) == set()
    assert call.record is not None
    call.record.was_begun = False
    assert breaches(call, run) == {"allowed end"}


@pytest.mark.parametrize(("items", "broken"), [(0, {"allowed end"}), (1, set())])
def test_a_lost_worker_ends_a_call_with_varying_items_if_some_were_sent(
    items: int, broken: set[str]
) -> None:
    call, run = good_call(Kind.VARY)
    call = ended(call, "FAILED", "UNAVAILABLE", "WORKER_LOST", items)
    assert breaches(call, run) == broken


def test_a_call_that_expires_before_its_deadline_is_a_breach() -> None:
    call, run = good_call(Kind.ASK)
    call = ended(call, "EXPIRED", "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    assert call.record is not None
    call.record.deadline_s = FINISHED_S
    assert breaches(call, run) == set()
    call.record.deadline_s = FINISHED_S + 1
    assert breaches(call, run) == {"allowed end"}


def test_a_deadline_that_ends_its_call_late_is_a_breach_unless_redis_was_down() -> None:
    call, run = good_call(Kind.ASK)
    call = ended(call, "EXPIRED", "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    assert call.record is not None
    call.record.deadline_s = FINISHED_S - 30
    run.beats = [FINISHED_S - 31]
    assert breaches(call, run) == {"stopped in time"}
    away = Window("redis", "stop", FINISHED_S - 31, FINISHED_S - 1)
    assert breaches(call, run, windows=(away,)) == set()


def test_an_accepted_cancellation_without_effect_is_a_breach() -> None:
    call, run = good_call(Kind.ASK)
    call.cancel_asked_s = call.cancelled_s = FINISHED_S - 1
    assert breaches(call, run) == {"allowed end"}


def late_work() -> tuple[Call, Run, float]:
    """A cancelled call, with work long after it."""
    call, run = good_call(Kind.ASK)
    call.cancel_asked_s = call.cancelled_s = FINISHED_S
    beat_s = FINISHED_S + ALLOWED_S + 1
    run.beats = [BEGUN_S, beat_s]
    return ended(call, "CANCELLED", "CANCELLED", "CANCELLED"), run, beat_s


def test_work_long_after_the_end_is_a_breach() -> None:
    call, run, _ = late_work()
    assert breaches(call, run) == {"stopped in time"}
    run.beats[-1] -= 2
    assert breaches(call, run) == set()


@pytest.mark.parametrize(("member", "broken"), [("worker-1", 0), ("redis", 0), ("worker-2", 1)])
def test_a_handler_may_work_on_only_while_its_worker_could_not_be_notified(
    member: str, broken: int
) -> None:
    call, run, beat_s = late_work()
    windows = (Window(member, "stop", FINISHED_S, beat_s - 1),)
    assert len(breaches(call, run, windows=windows)) == broken


def test_a_recovered_worker_has_no_excuse() -> None:
    call, run, beat_s = late_work()
    run.beats.append(beat_s + RECOVERY_S + ALLOWED_S)
    windows = (Window("worker-1", "stop", FINISHED_S, beat_s - 1),)
    assert breaches(call, run, windows=windows) == {"stopped in time"}


@pytest.mark.parametrize(("member", "broken"), [("gateway-1", 0), ("redis", 0), ("worker-1", 1)])
def test_a_late_notification_of_a_caller_is_a_breach(member: str, broken: int) -> None:
    call, run = good_call(Kind.COUNT)
    call.viewers[0].attaches[0].ended_s = FINISHED_S + TOLD_WITHIN_S + 1
    assert breaches(call, run) == {"notified in time"}
    windows = (Window(member, "stop", FINISHED_S, FINISHED_S + 1),)
    assert len(breaches(call, run, windows=windows)) == broken


def test_an_ephemeral_call_may_fail_but_not_return_a_wrong_response() -> None:
    plan = Plan("id", Kind.QUICK, 0.0)
    lost = Attach(BEGUN_S, "gateway-1", 0, code="UNAVAILABLE")
    right = Attach(BEGUN_S, "gateway-1", 0, items=[plan.response(0)], code="OK")
    assert not check(History([Call(plan, [Viewer([lost])]), Call(plan, [Viewer([right])])], [], []))
    right.items = [Plan("other", Kind.QUICK, 0.0).response(0)]
    assert check(History([Call(plan, [Viewer([right])])], [], [])) == [
        Breach("id", "whole streams", "an ephemeral call has another's response")
    ]
