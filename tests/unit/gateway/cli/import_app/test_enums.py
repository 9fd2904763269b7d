"""The numbers of a generated enum's values."""

from __future__ import annotations

import pytest

from forebay_gateway.cli.import_app.enums import enum_values

HIGHEST = (1 << 31) - 1
"""The highest number that protobuf allows."""


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ((1, HIGHEST), [1, HIGHEST]),
        ((1, HIGHEST + 1), [1, 2]),
        ((0, 5), [1, 2]),
        ((-1, 5), [1, 2]),
        (("a", "b"), [1, 2]),
    ],
)
def test_values_are_their_own_numbers_if_protobuf_takes_all_of_them(
    values: tuple[int | str, ...], numbers: list[int]
) -> None:
    members = {f"V{value}": value for value in values}
    assert [one.number for one in enum_values(members)] == numbers
