"""The time that a process expects on the ledger's clock."""

from __future__ import annotations

from forebay_backends.ledger.expected_clock import ExpectedClock, boot_time_s
from tests.unit.samples import FakeClock


def test_the_time_advances_from_the_last_reading() -> None:
    monotonic = FakeClock()
    expected = ExpectedClock(monotonic)
    assert expected.now_ms() is None
    expected.on_read(5_000)
    monotonic.now += 1.5
    assert expected.now_ms() == 6_500
    expected.on_read(9_000)
    monotonic.now += 0.5
    assert expected.now_ms() == 9_500


def test_an_uncertain_reading_is_ignored() -> None:
    monotonic = FakeClock()
    expected = ExpectedClock(monotonic)
    expected.on_read(None)
    assert expected.now_ms() is None
    expected.on_read(5_000)
    monotonic.now += 1
    expected.on_read(None)
    assert expected.now_ms() == 6_000


def test_an_old_reading_is_not_used() -> None:
    monotonic = FakeClock()
    expected = ExpectedClock(monotonic)
    expected.on_read(5_000)
    monotonic.now += 601
    assert expected.now_ms() is None


def test_the_default_clock_runs() -> None:
    assert boot_time_s() <= boot_time_s()
