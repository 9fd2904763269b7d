"""How long another worker may have a part, and how many are handed out."""

from __future__ import annotations

import pytest

from forebay_backends.ledger.scripts import LEASE_S
from forebay_workers.sharing.pacing import Pace, window


def test_who_has_computed_nothing_yet_waits_for_as_long_as_a_lease() -> None:
    assert Pace().patience_s == LEASE_S


def test_another_may_take_thrice_as_long_as_the_longest_part() -> None:
    pace = Pace()
    for seconds in (1.0, 4.0, 2.0):
        pace.took(seconds)
    assert pace.patience_s == 12.0


def test_a_moment_is_no_reason_for_impatience() -> None:
    pace = Pace()
    pace.took(0.001)
    assert pace.patience_s == 2.0


@pytest.mark.parametrize(
    ("workers", "part_bytes", "limit_bytes", "expected"),
    [
        (2, 1, 1000, 8),
        (5, 1, 1000, 20),
        (5, 100, 1000, 5),
        (5, 400, 1000, 2),
        (5, 4000, 1000, 2),
        (1, 0, 1000, 4),
    ],
)
def test_four_parts_a_worker_are_handed_out_within_half_of_the_limit(
    workers: int, part_bytes: int, limit_bytes: int, expected: int
) -> None:
    assert window(workers, part_bytes, limit_bytes) == expected
