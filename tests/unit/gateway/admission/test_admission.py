"""Whether a gateway has room for a call, and for its messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from forebay.errors import Draining, ForebayError, QueueFull
from forebay_gateway.admission.admission import CALL_BYTES, Admission, Permit
from forebay_gateway.admission.caller_identity import caller_of
from forebay_gateway.admission.fair_share import TIMES
from forebay_gateway.admission.retry_after import LEAST_S, MOST_S
from tests.unit.samples import FakeClock

MUCH = 1 << 40


def admission(max_calls: int = 100, max_held_bytes: int = MUCH, **options: Any) -> Admission:
    """An admission with few limits."""
    return Admission(max_calls, max_held_bytes, **options)


def leave(permit: Permit) -> None:
    """Ends a call."""
    permit.__exit__(None, None, None)


def fail_after_arriving(permit: Permit) -> None:
    """Ends as a handler that raises."""
    permit.arrived()
    permit.take(1000)
    raise KeyError


def flood(on: Admission, caller: str = "flooder") -> list[Permit]:
    """The permits of a caller that takes as many as it gets."""
    places = []
    while True:
        try:
            places.append(on.admit(caller).__enter__())
        except QueueFull:
            return places


def test_a_single_caller_gets_eight_ninths_and_an_ended_call_makes_room() -> None:
    full = admission(max_calls=90)
    places = flood(full)
    assert len(places) == full.calls.held == 80
    with pytest.raises(QueueFull, match=r"80 calls in flight, 80 of this caller, of at most 90"):
        full.admit("flooder")
    leave(places.pop())
    assert len(flood(full)) == 1


def test_a_new_caller_is_admitted_while_another_uses_its_full_share() -> None:
    full = admission(max_calls=90)
    flood(full)
    with full.admit("newcomer"), pytest.raises(QueueFull):
        full.admit("flooder")
    assert len(flood(full, "a second flooder")) == 8


def test_a_gateway_with_a_limit_of_one_accepts_one_call() -> None:
    one = admission(max_calls=1)
    with one.admit("a"), pytest.raises(QueueFull):
        one.admit("b")
    with one.admit("b"):
        pass


def test_a_failed_call_releases_its_permit() -> None:
    one = admission()
    with pytest.raises(ZeroDivisionError), one.admit("a"):
        1 / 0  # noqa: B018
    with pytest.raises(KeyError), one.admit("a") as permit:
        fail_after_arriving(permit)
    assert (one.calls.held, one.bytes.held, one.accepted) == (0, 0, 0)


def test_a_call_holds_a_flat_cost_and_its_first_request_and_counts_as_accepted() -> None:
    some = admission()
    with some.admit("a") as permit:
        assert (some.calls.held, some.bytes.held, some.accepted) == (1, CALL_BYTES, 0)
        permit.arrived()
        permit.take(1000)
        assert (some.calls.held, some.bytes.held, some.accepted) == (1, CALL_BYTES + 1000, 1)


def test_a_message_without_room_is_refused_and_an_item_can_ask_for_room() -> None:
    tight = admission(max_held_bytes=90_000)
    with tight.admit("a") as permit:
        permit.arrived()
        with pytest.raises(QueueFull, match="50000 more do not fit") as caught:
            permit.take(50_000)
        assert caught.value.quota == "bytes held"
        assert not permit.has_room(50_000)
        assert permit.has_room(1000)
        permit.hold(50_000)  # calls in flight continue, and count
        assert tight.bytes.held == CALL_BYTES + 50_000
        with pytest.raises(QueueFull, match="bytes") as of_calls:
            tight.admit("a")
        assert of_calls.value.quota == "bytes held"


def test_a_call_that_is_refused_for_its_bytes_counts_nowhere() -> None:
    full = admission(max_held_bytes=CALL_BYTES - 1)
    with pytest.raises(QueueFull, match="bytes"):
        full.admit("a")
    assert (full.calls.held, full.bytes.held) == (0, 0)


def test_bytes_that_come_after_the_end_are_not_counted() -> None:
    some = admission()
    with some.admit("a") as permit:
        permit.hold(10)
    permit.hold(10)
    permit.hold(-10)
    leave(permit)
    assert (some.calls.held, some.bytes.held, some.accepted) == (0, 0, 0)


def test_draining_refuses_new_calls_and_keeps_those_in_flight() -> None:
    some = admission()
    with some.admit("a") as permit, some.admit("silent") as silent:
        permit.arrived()
        some.drain()
        with pytest.raises(Draining) as caught:
            some.admit("a")
        assert (caught.value.retry_after_s or 0) > 0
        with pytest.raises(Draining):
            silent.arrived()
        assert some.accepted == 1
    assert some.accepted == some.calls.held == 0


def test_a_full_gateway_that_drains_reports_draining() -> None:
    one = admission(max_calls=1)
    with one.admit("a"):
        one.drain()
        with pytest.raises(Draining):
            one.admit("b")


def retry_after_s(on: Admission, caller: str) -> float:
    with pytest.raises(QueueFull) as caught:
        on.admit(caller)
    assert caught.value.retry_after_s is not None
    return caught.value.retry_after_s


def test_the_retry_delay_follows_the_rate_at_which_calls_end() -> None:
    clock = FakeClock()
    busy = admission(max_calls=90, clock=clock)
    flood(busy)
    assert 1 <= retry_after_s(busy, "flooder") <= 1.25  # nothing has ended: unknown
    for _ in range(300):  # ten calls a second end, and others come
        clock.now += 0.1
        with busy.admit("newcomer"):
            pass
    # One of 80 must end; at 10 a second, all 80 take 8 s.
    assert 0.1 <= retry_after_s(busy, "flooder") <= 0.1 * 1.25 * 1.1
    clock.now += 60
    assert retry_after_s(busy, "flooder") > 20


@given(st.integers(100, 400), st.integers(2, 5))
def test_greedy_callers_get_equal_shares(limit: int, callers: int) -> None:
    full = admission(max_calls=limit)
    held = {str(caller): flood(full, str(caller)) for caller in range(callers)}
    for _ in range(limit):
        for caller, places in held.items():  # a call of each ends, and all ask again
            if places:
                leave(places.pop())
            for other in (caller, *held):
                held[other] += flood(full, other)
    counts = [len(places) for places in held.values()]
    assert sum(counts) == full.calls.held <= limit
    assert max(counts) - min(counts) <= TIMES  # the effect of one free permit more or less


class AnyHistory(RuleBasedStateMachine):
    """Calls arrive, hold bytes and end in any order and in any way."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.admission = Admission(20, 40 * CALL_BYTES, self.clock)
        self.places: list[Permit] = []
        self.gone: list[Permit] = []

    def refused(self, ask: Callable[[], None]) -> QueueFull | None:
        """The refusal, whose RetryInfo is within bounds."""
        try:
            ask()
        except QueueFull as error:
            refusal = error
        else:
            return None
        assert LEAST_S <= (refusal.retry_after_s or 0) <= MOST_S
        return refusal

    @rule(caller=st.sampled_from("abcdef"))
    def come(self, caller: str) -> None:
        before = self.admission.calls.held_by(caller), self.admission.calls.held
        refused = self.refused(lambda: self.places.append(self.admission.admit(caller)))
        if refused is not None:
            assert before == (self.admission.calls.held_by(caller), self.admission.calls.held)
            # A caller that holds nothing is refused only if nothing is free.
            assert before[0] or before[1] == 20 or refused.quota == "bytes held"

    @precondition(lambda self: self.places)
    @rule(data=st.data(), size=st.integers(0, 30 * CALL_BYTES))
    def send(self, data: st.DataObject, size: int) -> None:
        permit = data.draw(st.sampled_from(self.places))
        before = self.admission.bytes.held
        if self.refused(lambda: permit.take(size)) is not None:
            assert self.admission.bytes.held == before
        else:
            assert self.admission.bytes.held <= self.admission.bytes.limit

    @precondition(lambda self: self.places)
    @rule(data=st.data(), error=st.sampled_from([None, KeyError, ForebayError]))
    def end(self, data: st.DataObject, error: type[Exception] | None) -> None:
        permit = data.draw(st.sampled_from(self.places))
        self.places.remove(permit)
        self.gone.append(permit)
        permit.__exit__(error, None, None)

    @precondition(lambda self: self.gone)
    @rule(data=st.data(), size=st.integers(-100, 100))
    def linger(self, data: st.DataObject, size: int) -> None:
        permit = data.draw(st.sampled_from(self.gone))
        permit.hold(size)
        leave(permit)

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def counts_are_those_of_who_is_here(self) -> None:
        calls = self.admission.calls
        assert calls.held == len(self.places) <= calls.limit
        assert sum(calls.held_by(caller) for caller in "abcdef") == calls.held
        assert all(calls.held_by(caller) >= 0 for caller in "abcdef")
        assert self.admission.bytes.held >= CALL_BYTES * calls.held
        if not self.places:
            assert self.admission.bytes.held == 0

    def teardown(self) -> None:
        for permit in self.places:
            leave(permit)
        assert self.admission.calls.held == self.admission.bytes.held == 0


TestAnyHistory = AnyHistory.TestCase


def test_a_refused_tenant_learns_nothing_of_others() -> None:
    full = admission(max_calls=90)
    flood(full)
    acme = flood(full, caller_of("", "acme"))
    with pytest.raises(QueueFull) as caught:
        full.admit(caller_of("", "acme"))
    assert f"{len(acme)} calls in flight of this tenant" in caught.value.message
    assert str(full.calls.held) not in caught.value.message
