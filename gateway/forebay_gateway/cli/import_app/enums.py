"""The values of enums. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forebay_gateway.cli.import_app.proto import EnumValue

_NUMBERS = range(1, 1 << 31)  # proto enum numbers: positive, since 0 means unset
_INTEGERS = range(-(1 << 63), 1 << 63)


def fit_an_enum(members: Mapping[str, Any]) -> bool:
    """Whether all values are strings, or integers."""
    values = list(members.values())
    are_numbers = all(isinstance(one, int) and not isinstance(one, bool) for one in values)
    if are_numbers:
        return bool(values) and all(int(one) in _INTEGERS for one in values)
    return all(isinstance(one, str) and one.isprintable() for one in values)


def enum_values(members: Mapping[str, Any]) -> list[EnumValue]:
    """The enum's values, numbered by their own values if all are positive, else in order."""
    own = all(isinstance(value, int) and value in _NUMBERS for value in members.values())
    return [
        EnumValue(
            name,
            int(value) if own else number,
            int(value) if isinstance(value, int) else str.__str__(value),
        )
        for number, (name, value) in enumerate(members.items(), start=1)
    ]
