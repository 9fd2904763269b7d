"""Which blocks of the event loop are named in the log."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest

from forebay_workers.coroutines.blocked_loop import BLOCKED_S, BlockedLoopWatch


@pytest.mark.parametrize(
    ("share", "is_named"),
    [pytest.param(0.5, False, id="shorter"), pytest.param(1.8, True, id="longer")],
)
def test_a_block_is_named_from_the_limit_on(
    share: float, is_named: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def block() -> None:
        watch = BlockedLoopWatch(asyncio.get_running_loop(), threading.get_ident())
        await asyncio.sleep(0.15)  # between two probes
        time.sleep(share * BLOCKED_S)  # noqa: ASYNC251 - it blocks the loop
        await asyncio.sleep(0.1)
        watch.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(block())
    assert ["has blocked the event loop" in text for text in caplog.messages] == [True] * is_named
