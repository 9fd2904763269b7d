"""A gateway leaves a shared run only if none of its RPCs is about to watch it."""

from __future__ import annotations

import asyncio
from typing import Any

from forebay_gateway.durable.cached_runs import CachedRuns

UNUSED: Any = None


async def test_leaving_waits_for_those_who_ask_for_the_same_run() -> None:
    runs = CachedRuns(UNUSED, UNUSED, UNUSED, "channel")
    await runs.nobody_asks("a")
    with runs.asking("b"):
        await runs.nobody_asks("a")
        leaving = asyncio.create_task(runs.nobody_asks("b"))
        with runs.asking("b"):
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not leaving.done()
    await leaving


async def test_leaving_waits_for_those_who_ask_while_it_waits() -> None:
    runs = CachedRuns(UNUSED, UNUSED, UNUSED, "channel")
    first = runs.asking("a")
    first.__enter__()
    leaving = asyncio.create_task(runs.nobody_asks("a"))
    await asyncio.sleep(0)
    first.__exit__(None, None, None)
    with runs.asking("a"):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not leaving.done()
    await leaving
