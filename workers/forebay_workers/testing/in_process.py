"""A worker inside a process that is not its own, such as a test's.

It runs in threads: Celery's loop in one, each handler in one of its own. It takes over
neither signals nor logging, and what it and Celery hold for a whole process is given back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from billiard import pool as billiard_pool
from celery import _state
from celery.exceptions import WorkerShutdown
from celery.signals import worker_ready
from celery.worker import WorkController, state
from google.protobuf.descriptor import ServiceDescriptor

from forebay_backends.settings import Settings
from forebay_workers.application import Handlers, application
from forebay_workers.runtime import process
from forebay_workers.testing.daemon_thread_pool import STOP_TIMEOUT_S, TaskPool

START_TIMEOUT_S = 30.0
# kombu ends a connection to Redis when its last wait for a message has ended.
_POLL_S = 0.1
_END_TIMEOUT_S = STOP_TIMEOUT_S + 15.0  # its keeper and its connections have theirs


class WorkerError(RuntimeError):
    """The worker did not start, or does not end; the message says why and what to do."""


@contextmanager
def running_worker(
    services: Mapping[ServiceDescriptor, Handlers],
    queues: Sequence[str],
    settings: Settings,
    concurrency: int,
) -> Iterator[None]:
    """A worker of the services, ready, that runs so many calls at a time, until the block is left.

    Then calls that still run are told that they are over. Raises RouteError and LookupError
    as `application` does, RuntimeError where the process has a worker already, and
    WorkerError where the worker does not start, or a handler does not end.
    """
    with process.hosted_worker(settings), _kept_of_celery():
        app = application("forebay_workers.in_process", services)
        app.conf.broker_transport_options = {"polling_interval": _POLL_S}
        app.set_default()  # as `celery worker` does: a handler may send tasks
        worker = _Worker(
            app=app,
            hostname="in-process@localhost",
            pool=TaskPool,
            concurrency=concurrency,
            queues=list(queues),
            without_mingle=True,
            without_gossip=True,
            without_heartbeat=True,
        )
        worker.begin()
        try:
            yield
        finally:
            process.runtime().control.stop_calls()
            worker.end()
            app.close()


class _Worker(WorkController):
    """Celery's worker, less what makes it a program."""

    def begin(self) -> None:
        """Starts it in a thread, and returns when it consumes."""
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="forebay-worker", daemon=True)
        self._thread.start()
        self._ready.result(START_TIMEOUT_S)

    def end(self) -> None:
        """Lets handlers come to their end, and ends it; bounded."""
        hub: Any = self.hub
        hub.call_soon(_shut_down)
        self._thread.join(_END_TIMEOUT_S)
        pool: Any = self.pool
        still = pool.running()
        if still or self._thread.is_alive():
            raise WorkerError(
                "the worker did not end; a thread can't be ended from outside, so let handlers "
                "look at context.is_active(), and bound what they wait for. Still running: "
                + ("; ".join(still) or "Celery's loop")
            )

    def on_consumer_ready(self, consumer: Any) -> None:
        """Celery's word that it consumes."""
        worker_ready.send(sender=consumer)
        self._ready.set_result(None)

    def _run(self) -> None:
        self.start()  # returns whatever happens
        if not self._ready.done():
            self._ready.set_exception(WorkerError("the worker did not start; its log says why"))


def _shut_down() -> None:
    raise WorkerShutdown(0)


@contextmanager
def _kept_of_celery() -> Iterator[None]:
    """What Celery has once a process is as it was, after the block."""
    celery: Any = _state
    pools: Any = billiard_pool
    current, default, lock = celery._tls.current_app, celery.default_app, pools.Lock
    try:
        yield
    finally:
        celery._tls.current_app, celery.default_app, pools.Lock = current, default, lock
        celery._set_task_join_will_block(False)
        state.reset_state()
