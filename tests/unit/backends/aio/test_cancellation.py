"""Cancelling tasks that lose a cancellation, as libraries make them."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from forebay_backends.aio.cancellation import cancel_all, cancellable


async def losing(times: int) -> None:
    """Waits for ever, and loses so many cancellations."""
    for _ in range(times):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await asyncio.Event().wait()


@pytest.mark.parametrize("times", [0, 1, 2])
async def test_tasks_end_however_many_cancellations_they_lose(times: int) -> None:
    tasks = [asyncio.create_task(losing(times)) for _ in range(3)]
    await asyncio.sleep(0)
    await cancel_all(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_what_a_task_raised_is_not_raised_here() -> None:
    async def fails() -> None:
        raise RuntimeError("of its own")

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await cancel_all([task])
    assert isinstance(task.exception(), RuntimeError)


async def test_a_cancellation_that_got_lost_below_is_raised() -> None:
    async def loses_one() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "answer"

    task = asyncio.create_task(cancellable(loses_one()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
