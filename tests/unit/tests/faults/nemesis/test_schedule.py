"""The nemesis' calls and faults follow from their seed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.nemesis.plans import Kind, plans
from tests.faults.nemesis.schedule import harms_of, schedule

MEMBERS = {"redis": 1.0, "gateway-1": 1.0, "gateway-2": 1.0, "worker-1": 2.0, "worker-2": 2.0}


@given(st.integers(0, 10**9))
def test_a_seed_repeats_calls_and_faults(seed: int) -> None:
    assert plans(seed, 50, 10.0) == plans(seed, 50, 10.0)
    assert schedule(seed, MEMBERS, 20, 60.0, 10.0) == schedule(seed, MEMBERS, 20, 60.0, 10.0)


@given(st.integers(0, 10**9))
def test_no_member_suffers_two_faults_at_a_time(seed: int) -> None:
    held_until = dict.fromkeys(MEMBERS, 0.0)
    for fault in schedule(seed, MEMBERS, 40, 60.0, 10.0):
        assert fault.harm in harms_of(fault.member)
        assert 0 < fault.length_s <= 10
        assert fault.at_s >= held_until[fault.member]
        held_until[fault.member] = fault.at_s + fault.length_s


def test_calls_are_of_every_kind_and_have_ids_of_their_own() -> None:
    made = plans(1, 500, 10.0)
    assert {plan.kind for plan in made} == set(Kind)
    assert len({plan.id for plan in made}) == len(made)
    assert any(plan.deadline_s for plan in made)
    assert any(plan.cancel_after_s for plan in made)
    assert any(plan.leave_after_s for plan in made)
    assert any(plan.viewers > 1 for plan in made)
