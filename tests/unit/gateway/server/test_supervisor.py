"""How long a child process waits before it is restarted."""

from __future__ import annotations

from forebay_gateway.server.supervisor import backoff_s


def test_a_process_that_ran_for_long_is_restarted_soon() -> None:
    assert backoff_s(16.0, 3600.0) == 1.0


def test_a_process_that_keeps_failing_waits_longer_each_time_up_to_a_limit() -> None:
    waits = [0.5]
    for _ in range(7):
        waits.append(backoff_s(waits[-1], 0.1))
    assert waits[1:] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_process_that_fails_for_the_first_time_waits_a_second() -> None:
    assert backoff_s(0.0, 0.1) == 1.0
