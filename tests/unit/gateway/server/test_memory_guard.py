"""The guard ends idle reads only if malloc has given out too much."""

from __future__ import annotations

from typing import Any

import pytest

from forebay_gateway.server.memory_guard import SLACK_BYTES, MemoryGuard

HELD = 1 << 20


class Reads:
    """Idle reads, which the guard ends."""

    def __init__(self) -> None:
        self.evictions = 0

    def evict_idle(self) -> int:
        self.evictions += 1
        return 1


@pytest.mark.parametrize(
    ("more_resident", "more_allocated", "evictions"),
    [(0, HELD + SLACK_BYTES + 1, 0), (HELD + SLACK_BYTES + 1, 0, 0), (1 << 30, 1 << 30, 1)],
    ids=["not resident", "freed", "in use"],
)
def test_it_acts_on_memory_in_use(more_resident: int, more_allocated: int, evictions: int) -> None:
    used = {"resident": 100, "allocated": 50}
    reads: Any = Reads()
    guard = MemoryGuard(reads, HELD, lambda: used["resident"], lambda: used["allocated"])
    used["resident"] += more_resident
    used["allocated"] += more_allocated
    guard.check()
    assert reads.evictions == evictions
