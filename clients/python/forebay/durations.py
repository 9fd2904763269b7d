"""Durations as people write them: a number and a unit, such as 90d, 12h, 10m, 1.5s or 250ms.

A duration may have several such parts, the largest unit first, such as 1h30m. Pure.
"""

from __future__ import annotations

import re

_UNITS_S = {"w": 7 * 86400.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)%s"
_DURATION = re.compile("".join(f"(?:{_PART % unit})?" for unit in _UNITS_S), re.ASCII)


def parse_duration_s(text: str) -> float:
    """The seconds of a duration; raises ValueError for any other text."""
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        raise ValueError("expected a duration, such as 10m, 1h30m or 2.5s")
    parts = zip(found.groups(), _UNITS_S.values(), strict=True)
    return sum(float(number) * unit_s for number, unit_s in parts if number)
