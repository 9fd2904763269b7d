"""The event loop of a process, and the watch that names who blocks it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from functools import partial
from typing import Any

import pytest

from forebay_backends.telemetry.call_labels import about_call
from forebay_workers.coroutines.blocked_loop import BlockedLoopWatch
from forebay_workers.coroutines.event_loop import HandlerLoop, each

TIMEOUT_S = 30.0


class NoLedger:
    """A ledger that no call uses."""

    async def close(self) -> None:
        """Does nothing."""


@pytest.fixture
def loop() -> Iterator[HandlerLoop]:
    make: Any = NoLedger
    made = HandlerLoop(2, make)
    yield made
    made.close()


async def thread_name() -> str:
    return threading.current_thread().name


def test_the_loop_runs_in_a_thread_of_its_own(loop: HandlerLoop) -> None:
    assert loop.run(thread_name()) == "forebay-loop"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_task_that_would_end_the_process_ends_only_itself(
    loop: HandlerLoop, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async def raises() -> None:
        raise error

    async def begin() -> None:
        task = asyncio.create_task(raises())
        await asyncio.wait([task])
        assert isinstance(task.exception(), error)

    loop.run(begin())
    assert loop.run(thread_name()) == "forebay-loop"
    assert "raised an exception that ends a process" in caplog.text


def test_tasks_that_are_started_while_the_loop_is_busy_wake_it_once(
    loop: HandlerLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, go_on, wakes = threading.Event(), threading.Event(), list[object]()
    order: list[int] = []

    async def blocks() -> None:
        busy.set()
        go_on.wait(TIMEOUT_S)

    async def task(number: int) -> int:
        order.append(number)
        if number == 1:
            raise LookupError(number)
        if number == 2:
            raise asyncio.CancelledError
        return number

    blocked = loop.start(blocks())
    assert busy.wait(TIMEOUT_S)
    wake = loop._loop.call_soon_threadsafe

    def counted(callback: Callable[..., Any], *args: Any) -> Any:
        if callback == loop._start_waiting:
            wakes.append(callback)
        return wake(callback, *args)

    monkeypatch.setattr(loop._loop, "call_soon_threadsafe", counted)
    results = [loop.start(task(number)) for number in range(4)]
    go_on.set()
    assert not wait([blocked, *results], TIMEOUT_S).not_done
    assert (order, len(wakes)) == ([0, 1, 2, 3], 1)
    assert isinstance(results[1].exception(), LookupError)
    assert results[2].cancelled()
    assert [results[0].result(), results[3].result()] == [0, 3]
    assert loop.start(task(5)).result(TIMEOUT_S) == 5


def test_close_ends_what_still_runs() -> None:
    make: Any = NoLedger
    loop = HandlerLoop(1, make)
    ended = threading.Event()

    async def waits() -> None:
        try:
            await asyncio.sleep(TIMEOUT_S)
        finally:
            ended.set()

    loop.start(waits())
    loop.run(asyncio.sleep(0))
    loop.close()
    assert ended.is_set()


@pytest.mark.parametrize("together", [True, False])
def test_each_call_runs_in_a_task_in_spite_of_one_that_fails(together: bool) -> None:
    ran: list[str] = []
    running = 0
    most = 0

    async def call(name: str) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        ran.append(name)
        if name == "a":
            raise ValueError(name)

    with pytest.raises(ValueError, match="a"):
        asyncio.run(each([partial(call, name) for name in "abc"], together=together))
    assert (sorted(ran), most) == (["a", "b", "c"], 3 if together else 1)


def in_a_loop(run: Callable[[BlockedLoopWatch], Any], blocked_s: float) -> None:
    """Runs a coroutine in a watched loop."""

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        watch = BlockedLoopWatch(loop, threading.get_ident(), blocked_s)
        factory: Any = watch.new_task
        loop.set_task_factory(factory)
        try:
            await asyncio.create_task(run(watch))
        finally:
            watch.close()

    asyncio.run(whole())


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Without lines of asyncio, about tasks of earlier tests."""
    ours = [one for one in caplog.records if one.name.startswith("forebay")]
    return [one.getMessage() for one in ours]


def test_the_handler_that_blocks_the_loop_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    async def blocks(watch: BlockedLoopWatch) -> None:
        with about_call("call-1", 1, "shop.Orders.Place"):
            watch.label_current_task()
            for _ in range(2):
                give_up = time.monotonic() + TIMEOUT_S
                while not warnings_of(caplog) and time.monotonic() < give_up:
                    time.sleep(0.01)  # noqa: ASYNC251 - it blocks
            await asyncio.sleep(0)
            time.sleep(0.5)  # noqa: ASYNC251

    in_a_loop(blocks, 0.1)
    (message,) = warnings_of(caplog)
    assert "the handler of shop.Orders.Place has blocked the event loop" in message
    assert "test_event_loop.py" in message
    assert "in blocks" in message


def test_a_task_that_a_handler_made_is_named_by_its_call(caplog: pytest.LogCaptureFixture) -> None:
    async def inner() -> None:
        give_up = time.monotonic() + TIMEOUT_S
        while not warnings_of(caplog) and time.monotonic() < give_up:
            time.sleep(0.01)  # noqa: ASYNC251 - it blocks

    async def handler(watch: BlockedLoopWatch) -> None:
        with about_call("call-1", 1, "shop.Orders.Place"):
            await asyncio.create_task(inner())

    in_a_loop(handler, 0.1)
    (message,) = warnings_of(caplog)
    assert "shop.Orders.Place" in message
