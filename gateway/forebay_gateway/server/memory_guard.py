"""Keeps the gateway's memory near `max_held_bytes`, and returns freed memory after bursts.

Admission does not count the message of an idle read, which has given its room back
(`read_room.py`). If many such calls send at once, more memory is allocated than admission allows.
Then the guard ends idle reads, starting with the caller that has the most of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from forebay_backends.aio.periodic import run_periodically
from forebay_backends.process.memory import FreedMemory, allocated_bytes, resident_bytes
from forebay_gateway.rpc.message_reads import MessageReads

_CHECK_INTERVAL_S = 0.02
_TRIM_INTERVAL_S = 5.0
SLACK_BYTES = 256 << 20
"""For memory that admission does not count: copies of messages in transit, and responses."""
_EVICT_ABOVE_BYTES = 32 << 20
"""The guard ends reads when memory is this far above `max_held_bytes`.

This is well below the slack, because messages arrive until their reads have ended."""

_log = logging.getLogger(__name__)


class MemoryGuard:
    """Guards `max_held_bytes`; memory that is in use when the guard is made does not count."""

    def __init__(
        self,
        reads: MessageReads,
        max_held_bytes: int,
        resident: Callable[[], int] = resident_bytes,
        allocated: Callable[[], int] = allocated_bytes,
    ) -> None:
        self._reads = reads
        self._resident, self._allocated = resident, allocated
        self._most = max_held_bytes + _EVICT_ABOVE_BYTES
        self._resident_at_start, self._allocated_at_start = resident(), allocated()

    def check(self) -> None:
        """Ends idle reads while too much memory is in use."""
        if self._resident() - self._resident_at_start <= self._most:  # quick, unlike mallinfo2
            return
        if self._allocated() - self._allocated_at_start > self._most:
            ended = self._reads.evict_idle()
            if ended:
                _log.warning("idle calls sent more than fits in memory; ended %d of them", ended)

    async def watch(self) -> None:
        """Checks every 20 ms until cancelled, but sleeps while there are no idle reads."""

        async def check() -> None:
            await self._reads.some_are_idle()
            self.check()

        await run_periodically(_CHECK_INTERVAL_S, check, _log, "guarding the memory")


async def return_freed_memory() -> None:
    """Returns freed memory to the system, until cancelled."""
    freed = FreedMemory()

    async def give_back() -> None:
        await asyncio.to_thread(freed.give_back)

    await run_periodically(_TRIM_INTERVAL_S, give_back, _log, "returning freed memory")
