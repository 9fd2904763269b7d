r"""A Celery pool that runs coroutine handlers on one event loop.

    CELERY_CUSTOM_WORKER_POOL=forebay_workers.asyncio_pool:TaskPool \
        celery -A app worker --pool custom --concurrency 100

Other tasks run in a pool of threads. Celery's own code runs in the main thread.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import signals
from celery.app.trace import LOG_SUCCESS
from celery.concurrency.base import BasePool, apply_target
from celery.worker import state
from kombu.serialization import loads, prepare_accept_content

from forebay_workers.celery_hooks.redis_transport import FreeSlots
from forebay_workers.runtime import process

_log = logging.getLogger(__name__)
_celerys_log = logging.getLogger("celery.app.trace")


def _ignore(result: object) -> None:
    """The default callback."""


_CelerysPool: Any = BasePool  # the stubs of BasePool lack methods


class TaskPool(BasePool):
    """Up to `--concurrency` coroutine handlers at a time, and as many threads for other tasks."""

    shown_as = "asyncio"
    body_can_be_buffer = True
    signal_safe = False
    limit: int

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._threads = ThreadPoolExecutor(self.limit, "forebay-handler")
        self._running: set[Future[None]] = set()
        self._wake = _HubWake()

    def on_start(self) -> None:
        """Creates the event loop and the control channel, so that the first call need not wait."""
        runtime = process.runtime()
        _ = (runtime.loop, runtime.control)
        FreeSlots.count = self._free_slots

    def register_with_event_loop(self, loop: Any) -> None:
        """Makes the end of a task wake Celery's loop, which then takes the next message at once."""
        self._wake.register(loop)

    def on_apply(
        self,
        target: Callable[..., Any],
        args: Any = (),
        kwargs: Any = None,
        callback: Callable[..., Any] = _ignore,
        accept_callback: Callable[..., Any] | None = None,
        **_: Any,
    ) -> Any:
        """Starts a coroutine handler's task on the event loop, any other task in a thread."""
        app: Any = self.app
        name = args[0] if args else None
        task = app.tasks.get(name) if isinstance(name, str) else None
        running: Future[Any]
        if getattr(task, "coroutine", None) is None:
            running = self._threads.submit(
                apply_target, target, args, kwargs, callback, accept_callback
            )
        else:
            traced = _Traced(task, *args[1:], callback=callback, accept_callback=accept_callback)
            running = process.runtime().loop.start(traced.run())
        self._running.add(running)
        running.add_done_callback(self._ended)
        return _ApplyResult(running)

    def on_stop(self) -> None:
        """Waits for running tasks; cancels those that wait for a thread."""
        self._threads.shutdown(cancel_futures=True)
        wait(list(self._running))
        self._wake.close()

    def on_terminate(self) -> None:
        """Stops the handlers, whose calls are then released."""
        process.runtime().control.stop_calls()

    def _free_slots(self) -> int:
        return self.limit - len(state.reserved_requests)

    def _ended(self, running: Future[Any]) -> None:
        self._running.discard(running)
        self._wake.wake()

    def _get_info(self) -> dict[str, Any]:
        return {**_CelerysPool._get_info(self), "running": len(self._running)}


class _Traced:
    """Runs one of Forebay's tasks on the event loop, as Celery's tracer would.

    It does not set `celery.current_task`, which belongs to a thread.
    """

    def __init__(
        self,
        task: Any,
        task_id: str,
        request: dict[str, Any],
        body: Any,
        content_type: str | None,
        content_encoding: str,
        *,
        callback: Callable[..., Any],
        accept_callback: Callable[..., Any] | None,
    ) -> None:
        self._task = task
        self._id = task_id
        self._message = (body, content_type, content_encoding)
        self._callback = callback
        self._accept_callback = accept_callback

    async def run(self) -> None:
        """Raises nothing."""
        try:
            if self._accept_callback is not None:
                self._accept_callback(os.getpid(), time.monotonic())
            self._callback(await self._result())
        except Exception:
            _log.exception("task %s: Celery could not be told of it", self._id)

    async def _result(self) -> tuple[int, Any, float]:
        began = time.monotonic()
        kwargs: dict[str, Any] = {}
        about = {"sender": self._task, "task_id": self._id}
        try:
            kwargs = self._kwargs()
            signals.task_prerun.send(task=self._task, args=(), kwargs=kwargs, **about)
            runtime = process.runtime()
            try:
                await self._task.coroutine.run_on_loop(runtime, kwargs, self._id)
            finally:
                runtime.report()
        except Exception as error:
            _log.exception("task %s failed", self._id)
            info = ExceptionInfo()
            signals.task_failure.send(
                exception=error, args=(), kwargs=kwargs, traceback=None, einfo=info, **about
            )
            return 1, info, time.monotonic() - began
        finally:
            signals.task_postrun.send(
                task=self._task, args=(), kwargs=kwargs, retval=None, state=None, **about
            )
        run_s = time.monotonic() - began
        signals.task_success.send(sender=self._task, result=None, runtime=run_s)
        about_run = {"name": self._task.name, "return_value": None, "runtime": run_s}
        _celerys_log.info(LOG_SUCCESS, {"id": self._id, **about_run})
        return 0, "None", run_s

    def _kwargs(self) -> dict[str, Any]:
        body, content_type, encoding = self._message
        if not content_type:
            return dict(body[1])
        accept = prepare_accept_content(self._task.app.conf.accept_content)
        _, kwargs, _ = loads(body, content_type, encoding or "utf-8", accept=accept)
        return dict(kwargs)


class _HubWake:
    """Wakes kombu's hub from another thread."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._lock = threading.Lock()
        self._is_registered = False

    def register(self, hub: Any) -> None:
        hub.add_reader(self._read, self._drain)
        self._is_registered = True

    def wake(self) -> None:
        with self._lock, suppress(OSError):  # the pipe is full or closed
            if self._is_registered:
                os.write(self._write, b"\0")

    def close(self) -> None:
        with self._lock:
            self._is_registered = False
            os.close(self._write)

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while len(os.read(self._read, 4096)) == 4096:
                pass


class _ApplyResult:
    """The result that Celery gets for a task that it has passed to the pool."""

    def __init__(self, running: Future[Any]) -> None:
        self.get = running.result
        self.wait = partial(wait, [running])
