"""Limits on frames that cost more than they bring."""

from __future__ import annotations

from forebay_gateway.fronts.native.floods import Allowance, IdleFrames, PingStrikes


def test_an_allowance_is_limited_and_comes_back_with_time() -> None:
    allowance = Allowance(100, 10, now=0.0)
    assert allowance.take(100, now=0.0)
    assert allowance.take(10, now=1.0)
    assert not allowance.take(1, now=1.0)


def test_an_allowance_is_no_more_after_a_long_time() -> None:
    assert not Allowance(100, 10, now=0.0).take(101, now=1_000.0)


def test_what_is_given_may_be_taken_but_is_not_saved_up() -> None:
    allowance = Allowance(100, 10, now=0.0)
    assert allowance.take(100, now=0.0)
    allowance.give(50)
    assert allowance.take(50, now=0.0)
    allowance.give(1_000)
    assert not allowance.take(101, now=0.0)


def test_idle_frames_are_limited_and_come_back_with_time() -> None:
    frames = IdleFrames(now=0.0)
    assert frames.received(10_000, now=0.0)
    assert frames.received(1_000, now=1.0)
    assert not frames.received(1, now=1.0)


def test_what_is_sent_allows_its_window_updates() -> None:
    frames = IdleFrames(now=0.0)
    assert frames.received(10_000, now=0.0)
    frames.sent(16 * 500)
    assert frames.received(500, now=0.0)
    assert not frames.received(1, now=0.0)


def test_a_request_allows_the_window_updates_that_it_comes_with() -> None:
    frames = IdleFrames(now=0.0)
    for _ in range(20_000):
        frames.requested(1)
        assert frames.received(2, now=0.0)
    assert frames.received(9_998, now=0.0)
    assert not frames.received(1, now=0.0)


def test_requests_do_not_save_up_idle_frames() -> None:
    frames = IdleFrames(now=0.0)
    frames.requested(1_000_000)
    frames.received(0, now=1.0)
    assert not frames.received(10_001, now=1.0)


def test_the_third_ping_that_comes_too_early_is_one_too_many() -> None:
    pings = PingStrikes(min_interval_s=10.0)
    assert [pings.received(now) for now in (0.0, 1.0, 2.0, 3.0)] == [True, True, True, False]


def test_pings_that_keep_the_interval_may_go_on_for_ever() -> None:
    pings = PingStrikes(min_interval_s=10.0)
    assert all(pings.received(now * 10.0) for now in range(100))


def test_a_response_forgives_earlier_pings() -> None:
    pings = PingStrikes(min_interval_s=10.0)
    assert all(pings.received(now) for now in (0.0, 1.0, 2.0))
    pings.forgive()
    assert [pings.received(now) for now in (3.0, 4.0, 5.0, 6.0)] == [True, True, True, False]
