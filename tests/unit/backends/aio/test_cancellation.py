"""Cancelling tasks whose libraries swallow a cancellation."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from forebay_backends.aio.cancellation import cancel_all, raise_lost_cancellation


async def losing(times: int) -> None:
    """Waits forever and swallows that many cancellations."""
    for _ in range(times):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await asyncio.Event().wait()


@pytest.mark.parametrize("times", [0, 1, 2])
async def test_tasks_end_however_many_cancellations_they_swallow(times: int) -> None:
    tasks = [asyncio.create_task(losing(times)) for _ in range(3)]
    await asyncio.sleep(0)
    await cancel_all(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_cancel_all_does_not_raise_a_tasks_exception() -> None:
    async def fails() -> None:
        raise RuntimeError("of its own")

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await cancel_all([task])
    assert isinstance(task.exception(), RuntimeError)


@pytest.mark.parametrize("fails", [False, True], ids=["result", "error"])
async def test_a_cancellation_that_a_library_swallowed_is_raised(fails: bool) -> None:
    async def loses_one() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        if fails:
            raise RuntimeError("of its own")
        return "answer"

    task = asyncio.create_task(raise_lost_cancellation(loses_one()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_without_a_cancellation_is_raised() -> None:
    async def fails() -> None:
        raise RuntimeError("of its own")

    with pytest.raises(RuntimeError, match="of its own"):
        await raise_lost_cancellation(fails())
