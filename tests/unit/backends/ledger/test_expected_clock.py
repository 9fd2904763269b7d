"""What a process that sweeps expects the ledger's clock to be."""

from __future__ import annotations

from forebay_backends.ledger.expected_clock import ExpectedClock, boot_time_s
from tests.unit.samples import FakeClock


def test_it_counts_on_from_the_last_sweep_of_each_partition() -> None:
    monotonic = FakeClock()
    expected = ExpectedClock(monotonic)
    expected.on_read(0, 5_000)
    monotonic.now += 1.5
    expected.on_read(1, 9_000)
    monotonic.now += 0.5
    assert (expected.now_ms(0), expected.now_ms(1), expected.now_ms(2)) == (7_000, 9_500, None)


def test_a_sweep_in_doubt_teaches_nothing() -> None:
    monotonic = FakeClock()
    expected = ExpectedClock(monotonic)
    expected.on_read(0, None)
    assert expected.now_ms(0) is None
    expected.on_read(0, 5_000)
    monotonic.now += 1
    expected.on_read(0, None)
    assert expected.now_ms(0) == 6_000


def test_an_old_sweep_is_no_base() -> None:
    monotonic = FakeClock()
    expected = ExpectedClock(monotonic)
    expected.on_read(0, 5_000)
    monotonic.now += 601
    assert expected.now_ms(0) is None


def test_the_default_clock_goes_on() -> None:
    assert boot_time_s() <= boot_time_s()
