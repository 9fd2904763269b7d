"""What a process expects the ledger's clock to be."""

from __future__ import annotations

from forebay_backends.ledger.expected_clock import ExpectedClock, boot_time_s
from tests.unit.samples import FakeClock


def test_it_counts_on_from_the_last_reading() -> None:
    monotonic = FakeClock()
    expected = ExpectedClock(monotonic)
    assert expected.now_ms() is None
    expected.on_read(5_000)
    monotonic.now += 1.5
    assert expected.now_ms() == 6_500
    expected.on_read(9_000)
    monotonic.now += 0.5
    assert expected.now_ms() == 9_500


def test_a_reading_in_doubt_teaches_nothing() -> None:
    monotonic = FakeClock()
    expected = ExpectedClock(monotonic)
    expected.on_read(None)
    assert expected.now_ms() is None
    expected.on_read(5_000)
    monotonic.now += 1
    expected.on_read(None)
    assert expected.now_ms() == 6_000


def test_an_old_reading_is_no_base() -> None:
    monotonic = FakeClock()
    expected = ExpectedClock(monotonic)
    expected.on_read(5_000)
    monotonic.now += 601
    assert expected.now_ms() is None


def test_the_default_clock_goes_on() -> None:
    assert boot_time_s() <= boot_time_s()
