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


def test_an_old_reading_is_still_the_expected_time_but_no_longer_fresh() -> None:
    monotonic = FakeClock()
    expected = ExpectedClock(monotonic)
    assert not expected.is_fresh
    expected.on_read(5_000)
    assert expected.is_fresh
    monotonic.now += 8 * 3600
    assert not expected.is_fresh
    assert expected.now_ms() == 5_000 + 8 * 3_600_000


def test_the_default_clock_runs() -> None:
    assert boot_time_s() <= boot_time_s()
