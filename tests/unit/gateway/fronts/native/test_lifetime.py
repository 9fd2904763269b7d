"""When a connection is pinged, renewed and given up."""

from __future__ import annotations

import pytest

from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.fronts.native.lifetime import Action, Lifetime

LIMITS = FrontLimits(1, 1, 1, 1)  # pings after 30 s, for 10 s; age 1800 s, and 3600 s of grace


def greeted(now: float = 0.0) -> Lifetime:
    lifetime = Lifetime(LIMITS, now)
    lifetime.greeted = True
    lifetime.received(now, frames=1)
    return lifetime


def test_a_connection_without_a_greeting_is_given_up() -> None:
    lifetime = Lifetime(LIMITS, now=0.0)
    assert lifetime.due(20.0) is Action.NONE
    assert lifetime.due(20.1) is Action.ABORT


def test_a_silent_connection_is_pinged_once_and_given_up_without_an_answer() -> None:
    lifetime = greeted()
    assert [lifetime.due(now) for now in (29.9, 30.0, 31.0)] == [
        Action.NONE,
        Action.PING,
        Action.NONE,
    ]
    assert lifetime.due(40.1) is Action.ABORT


def test_any_answer_keeps_a_connection() -> None:
    lifetime = greeted()
    assert lifetime.due(30.0) is Action.PING
    lifetime.received(39.0, frames=1)
    assert lifetime.due(60.0) is Action.NONE
    assert lifetime.due(69.0) is Action.PING


def test_a_frame_that_comes_byte_by_byte_is_given_up() -> None:
    lifetime = greeted()
    for now in range(10, 70):
        lifetime.received(float(now), frames=0)
        assert lifetime.due(float(now)) is Action.NONE
    lifetime.received(71.0, frames=0)
    assert lifetime.due(71.0) is Action.ABORT


def test_a_frame_that_ends_in_time_is_forgotten() -> None:
    lifetime = greeted()
    for now in range(1, 200):
        lifetime.received(float(now), frames=int(now % 50 == 0))
        assert lifetime.due(float(now)) is Action.NONE


def test_an_old_connection_goes_away_in_two_steps_and_has_an_end() -> None:
    lifetime = greeted()
    at = next(now for now in range(10_000) if _age(lifetime, now) is Action.GO_AWAY)
    assert 1_620 <= at <= 1_980
    assert lifetime.go_away(float(at))
    assert not lifetime.go_away(float(at)), "it is begun once"
    assert _age(lifetime, at + 10) is Action.NONE
    assert _age(lifetime, at + 11) is Action.GO_AWAY_FINALLY
    lifetime.final_goaway_sent = True
    assert _age(lifetime, at + 3_600) is Action.NONE
    assert _age(lifetime, at + 3_601) is Action.ABORT


@pytest.mark.parametrize("sent", [False, True])
def test_the_answer_to_the_first_goaway_makes_the_second_due(sent: bool) -> None:
    lifetime = greeted()
    assert not lifetime.notice_heard()
    lifetime.go_away(1.0)
    lifetime.final_goaway_sent = sent
    assert lifetime.notice_heard() is not sent


def _age(lifetime: Lifetime, now: int) -> Action:
    lifetime.received(float(now), frames=1)
    return lifetime.due(float(now))


def test_a_caller_has_some_seconds_to_read_its_last_bytes() -> None:
    lifetime = greeted()
    assert not lifetime.close_is_overdue(100.0)
    lifetime.closed(100.0)
    assert not lifetime.close_is_overdue(110.0)
    assert lifetime.close_is_overdue(110.1)
