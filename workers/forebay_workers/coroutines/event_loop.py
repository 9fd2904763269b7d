"""The event loop of a process that runs coroutine handlers, in a thread of its own.

All coroutine handlers of a process share one loop, whatever the pool, because clients and locks
that a servicer keeps can be used on one loop only. Leases are renewed in other threads, so a
handler that blocks the loop delays only the other coroutines of its process.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from forebay_backends.aio.cancellation import cancel_all
from forebay_workers.coroutines.blocked_loop import BlockedLoopWatch
from forebay_workers.coroutines.ledger import LoopLedger
from forebay_workers.coroutines.replies import Replies
from forebay_workers.handler.process_exit import CLOSE_TIMEOUT_S

_MIN_THREADS = 32

_log = logging.getLogger(__name__)

T = TypeVar("T")


class HandlerLoop:
    """An event loop in a thread, which runs until `close`."""

    def __init__(self, slots: int, make_ledger: Callable[[], LoopLedger]) -> None:
        """`make_ledger` is called on the loop."""
        self._loop = asyncio.new_event_loop()
        self._waiting: deque[tuple[Coroutine[Any, Any, Any], Future[Any]]] = deque()
        self._is_woken = False
        # Handlers' `asyncio.to_thread` uses it too; asyncio's default pool has only a few threads.
        threads = ThreadPoolExecutor(max(slots, _MIN_THREADS), "forebay-handler")
        self._loop.set_default_executor(threads)
        self._thread = threading.Thread(target=self._run, name="forebay-loop", daemon=True)
        self._thread.start()
        self.watch = BlockedLoopWatch(self._loop, self._thread.ident or 0)
        factory: Any = self.watch.new_task
        self._loop.set_task_factory(factory)
        self.permits = asyncio.Semaphore(slots)
        """Each running call holds a permit."""
        self.ledger: LoopLedger = asyncio.run_coroutine_threadsafe(
            _made(make_ledger), self._loop
        ).result()
        self.replies = Replies(self.ledger)

    def start(self, running: Coroutine[Any, Any, T]) -> Future[T]:
        """Starts a task on the loop, from another thread; the future gets the task's result.

        Tasks that are started together wake the loop once, since a wake-up costs as much as a task.
        """
        ended: Future[T] = Future()
        self._waiting.append((running, ended))
        if not self._is_woken:
            self._is_woken = True
            self._loop.call_soon_threadsafe(self._start_waiting)
        return ended

    def run(self, running: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the loop while the calling thread waits."""
        return asyncio.run_coroutine_threadsafe(running, self._loop).result()

    def close(self) -> None:
        """Cancels the running tasks and ends the thread; waits for at most 5 s."""
        self.watch.close()
        asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop)
        self._thread.join(CLOSE_TIMEOUT_S)

    async def _shut_down(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await cancel_all([task for task in others if task is not None])
        await self.ledger.close()
        self._loop.stop()

    def _start_waiting(self) -> None:
        self._is_woken = False  # set first: a task that is added later wakes the loop again
        while self._waiting:
            running, ended = self._waiting.popleft()
            self._loop.create_task(running).add_done_callback(partial(_end, ended))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        while True:
            try:
                self._loop.run_forever()
                break
            except (SystemExit, KeyboardInterrupt):
                # A task that a handler started raised it, which ends `run_forever`. Run it again.
                _log.exception("a task of a handler raised an exception that ends a process")
        self._loop.close()


async def each(calls: Sequence[Callable[[], Awaitable[None]]], *, together: bool) -> None:
    """Runs calls on the loop, at the same time or one after the other.

    Each runs in a task of its own, except for a single call. If some raise, the others still run;
    then the first of the exceptions is raised.
    """
    if len(calls) == 1:
        await calls[0]()
        return
    if together:
        ended = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
    else:
        ended = []
        for call in calls:
            ended += await asyncio.gather(_task(call), return_exceptions=True)
    for error in ended:
        if isinstance(error, BaseException):
            raise error


async def _task(call: Callable[[], Awaitable[None]]) -> None:
    await call()


def _end(ended: Future[Any], task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        ended.cancel()
        ended.set_running_or_notify_cancel()  # wakes `concurrent.futures.wait`
    elif (error := task.exception()) is not None:
        ended.set_exception(error)
    else:
        ended.set_result(task.result())


async def _made(make: Callable[[], T]) -> T:
    return make()
