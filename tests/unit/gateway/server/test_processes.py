"""How a gateway's processes are started again."""

from __future__ import annotations

from forebay_gateway.server.processes import pause_s


def test_a_process_that_lived_is_started_again_soon() -> None:
    assert pause_s(16.0, 3600.0) == 1.0


def test_one_that_ends_at_once_again_and_again_is_given_ever_longer_up_to_a_bound() -> None:
    pauses = [0.5]
    for _ in range(7):
        pauses.append(pause_s(pauses[-1], 0.1))
    assert pauses[1:] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
