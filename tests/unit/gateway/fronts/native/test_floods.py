"""Limits on frames that cost more than they bring."""

from __future__ import annotations

from forebay_gateway.fronts.native.floods import IdleFrames, PingStrikes, ProvokedResets


def test_idle_frames_are_limited_and_come_back_with_time() -> None:
    frames = IdleFrames(now=0.0)
    assert frames.received(10_000, now=0.0)
    assert not frames.received(1, now=0.0)
    frames = IdleFrames(now=0.0)
    assert frames.received(10_000, now=0.0)
    assert frames.received(1_000, now=1.0)
    assert not frames.received(1, now=1.0)


def test_idle_frames_are_no_more_after_a_long_time() -> None:
    frames = IdleFrames(now=0.0)
    assert not frames.received(10_001, now=1_000.0)


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


def test_provoked_resets_are_limited_and_come_back_with_time() -> None:
    resets = ProvokedResets(now=0.0)
    assert resets.provoked(10_000, now=0.0)
    assert not resets.provoked(1, now=0.0)
    resets = ProvokedResets(now=0.0)
    assert resets.provoked(10_000, now=0.0)
    assert resets.provoked(1_000, now=1.0)
    assert not resets.provoked(1, now=1.0)


def test_provoked_resets_are_no_more_after_a_long_time() -> None:
    assert not ProvokedResets(now=0.0).provoked(10_001, now=1_000.0)
