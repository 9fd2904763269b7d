"""The guard ends idle reads only if malloc has given out too much."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest

from forebay_gateway.server.memory_guard import SLACK_BYTES, MemoryGuard

HELD = 1 << 20


class Reads:
    """Idle reads, which the guard ends."""

    def __init__(self) -> None:
        self.evictions = 0
        self.idle = asyncio.Event()

    async def some_are_idle(self) -> None:
        await self.idle.wait()

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


async def test_it_looks_at_the_memory_only_while_reads_are_idle() -> None:
    reads: Any = Reads()
    looks = count()
    seen = asyncio.Event()

    def resident() -> int:
        if next(looks):  # not the one when the guard is made
            seen.set()
        return 0

    guard = MemoryGuard(reads, HELD, resident, lambda: 0)
    watching = asyncio.create_task(guard.watch())
    await asyncio.sleep(0)
    assert not seen.is_set()
    reads.idle.set()
    await seen.wait()
    watching.cancel()
    await asyncio.wait([watching])
