"""UUIDs that sort by creation time."""

from __future__ import annotations

import os
import time

_DRAWN_AT_ONCE = 128
_RANDOM_DIGITS = 20
_VARIANTS = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
_random: list[str] = []
"""Random hexadecimal digits for further ids. The system call for one id's digits takes longer than
all else in `uuid7`."""

os.register_at_fork(after_in_child=_random.clear)


def uuid7() -> str:
    """A UUID of version 7: 48 bits of Unix time in ms, 74 random ones (RFC 9562, 5.7)."""
    try:
        random = _random.pop()
    except IndexError:
        random = _draw()
    time_digits = f"{time.time_ns() // 1_000_000:012x}"
    return (
        f"{time_digits[:8]}-{time_digits[8:]}-7{random[:3]}-"
        f"{_VARIANTS[random[3]]}{random[4:7]}-{random[7:19]}"
    )


def _draw() -> str:
    """The digits for one id; those for more are kept."""
    digits = os.urandom(_DRAWN_AT_ONCE * _RANDOM_DIGITS // 2).hex()
    ids = [digits[at : at + _RANDOM_DIGITS] for at in range(0, len(digits), _RANDOM_DIGITS)]
    random = ids.pop()
    _random.extend(ids)
    return random
