"""UUIDs that sort by creation time."""

from __future__ import annotations

import os
import time


def uuid7() -> str:
    """A UUID of version 7: 48 bits of Unix time in ms, 74 random ones (RFC 9562, 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    value = milliseconds << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    digits = f"{value & (1 << 128) - 1:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
