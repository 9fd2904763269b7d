"""Durations as people write them."""

from __future__ import annotations

import pytest

from forebay.durations import parse_duration_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10m", 600),
        ("1h30m", 5400),
        ("2.5s", 2.5),
        ("250ms", 0.25),
        ("1w2d3h4m5s6ms", 788_645.006),
        ("0s", 0),
        ("30d", 2_592_000),
    ],
)
def test_units_follow_numbers_the_largest_first(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "10", "m", "-1m", "1m2h", "1 m", "1e3s", "1m\n", "\u0663m", "inf", "1.s", "1" * 10 + "s"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration, such as 10m"):
        parse_duration_s(text)
