"""Callbacks that block the event loop are counted, and logged by name once a minute."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Iterator

import pytest

from forebay_backends.aio.cancellation import cancel_all
from forebay_gateway.profiling.slow_callbacks import RunTime, SlowCallbacks

TIMEOUT_S = 30.0
LOOK_S = 0.025


def observed(run_time: RunTime, run: object | None, *, blocked: bool, times: int) -> list[bool]:
    """What the looks at a run say that computes all the time, or is blocked."""
    computed_s = 0.0 if blocked else LOOK_S
    return [run_time.observe(run, LOOK_S, computed_s, is_blocked=blocked) for _ in range(times)]


@pytest.mark.parametrize("blocked", [True, False])
def test_a_run_becomes_slow_once(blocked: bool) -> None:
    looks = observed(RunTime(), object(), blocked=blocked, times=20)
    assert looks.count(True) == 1
    assert looks.index(True) == 4  # the first look only finds it


def test_quick_runs_are_not_slow_however_many_there_are() -> None:
    run_time = RunTime()
    looks = [observed(run_time, object(), blocked=False, times=3) for _ in range(20)]
    assert not any(any(one) for one in looks)
    assert not any(observed(run_time, None, blocked=True, times=20))


def test_a_run_that_waits_for_a_cpu_is_not_slow() -> None:
    run_time, run = RunTime(), object()
    assert not any(run_time.observe(run, 5.0, 0.001, is_blocked=False) for _ in range(20))


def test_c_code_that_held_the_gil_is_of_the_run_that_is_found_after_it() -> None:
    assert RunTime().observe(object(), 0.3, 0.3, is_blocked=False, is_late=True)
    assert not RunTime().observe(object(), 0.3, 0.3, is_blocked=False)  # of other callbacks
    starved = RunTime().observe(object(), 0.3, 0.01, is_blocked=False, is_late=True)
    assert not starved


@contextlib.contextmanager
def watched() -> Iterator[threading.Event]:
    """Watches the running loop; the event is set when a slow callback was found."""
    found = threading.Event()
    watching = asyncio.ensure_future(SlowCallbacks(found.set).watch())
    yield found
    watching.cancel()


async def block(found: threading.Event) -> None:
    found.wait(TIMEOUT_S)


async def compute(found: threading.Event) -> None:
    give_up = time.monotonic() + TIMEOUT_S
    while not found.is_set() and time.monotonic() < give_up:
        sum(range(1000))


@pytest.mark.parametrize("blocking", [block, compute])
async def test_a_coroutine_that_blocks_the_loop_is_logged_by_name(
    caplog: pytest.LogCaptureFixture, blocking: object
) -> None:
    assert callable(blocking)
    with watched() as found:
        await asyncio.sleep(0)
        await asyncio.create_task(blocking(found))
        assert found.is_set()
    name = f"{__name__}.{blocking.__name__}"
    assert any(name in record.getMessage() for record in caplog.records)


async def test_slow_callbacks_do_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    count = threading.Semaphore(0)
    watching = asyncio.create_task(SlowCallbacks(count.release).watch())
    for _ in range(3):
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(lambda: count.acquire(timeout=TIMEOUT_S))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await cancel_all([watching])
    assert len(caplog.records) == 1
    assert "<lambda>" in caplog.records[0].getMessage()
