"""Retry delays of refused calls."""

from __future__ import annotations

import pytest

from forebay_gateway.admission.retry_after import retry_after_s


@pytest.mark.parametrize(
    ("estimate_s", "chance", "delay_s"),
    [
        (4.0, 0.0, 4.0),
        (4.0, 1.0, 5.0),
        (None, 0.0, 1.0),
        (0.0, 0.0, 0.1),
        (0.01, 1.0, 0.125),
        (48.0, 1.0, 60.0),
        (59.0, 1.0, 60.0),
        (1e9, 0.0, 60.0),
    ],
)
def test_a_delay_is_the_estimate_and_up_to_a_quarter_within_bounds(
    estimate_s: float | None, chance: float, delay_s: float
) -> None:
    assert retry_after_s(estimate_s, lambda: chance) == pytest.approx(delay_s)
