"""Runs a worker inside a process that is not its own, such as a test's.

Celery's loop runs in one thread, each handler in another. The worker handles no signals and
sets up no logging, and afterwards Celery's process-wide state is as it was before.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import grpc
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
# To end, the worker must wait for kombu's last blocking read of Redis, which takes this long.
_POLL_INTERVAL_S = 0.1
_END_TIMEOUT_S = STOP_TIMEOUT_S + 15.0  # for the lease keeper and the connections too


class WorkerError(RuntimeError):
    """The worker did not start or did not end; the message has the reason and a remedy."""


@contextmanager
def running_worker(
    services: Mapping[ServiceDescriptor, Handlers],
    queues: Sequence[str],
    settings: Settings,
    concurrency: int,
    interceptors: Sequence[grpc.ServerInterceptor] = (),
) -> Iterator[None]:
    """Runs a worker of the services, with `concurrency` slots, until the block ends.

    Calls that still run at its end are stopped. Raises RouteError and LookupError as `application`
    does, RuntimeError if the process has a worker already, and WorkerError if the worker does
    not start or a handler does not end.
    """
    with process.hosted_worker(settings), _restored_celery_state():
        app = application("forebay_workers.in_process", services, interceptors=interceptors)
        app.conf.broker_transport_options = {"polling_interval": _POLL_INTERVAL_S}
        app.set_default()  # as `celery worker` does, for handlers that send tasks
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
    """Celery's worker, in a thread of this process."""

    def begin(self) -> None:
        """Starts the thread, and returns when the worker consumes."""
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="forebay-worker", daemon=True)
        self._thread.start()
        self._ready.result(START_TIMEOUT_S)

    def end(self) -> None:
        """Shuts the worker down; waits for handlers for at most 5 s. Raises WorkerError."""
        hub: Any = self.hub
        hub.call_soon(_shut_down)
        self._thread.join(_END_TIMEOUT_S)
        pool: Any = self.pool
        still = pool.running()
        if still or self._thread.is_alive():
            raise WorkerError(
                "the worker did not end; a thread can't be killed, so let handlers check "
                "context.is_active(), and bound their waits. Still running: "
                + ("; ".join(still) or "Celery's loop")
            )

    def on_consumer_ready(self, consumer: Any) -> None:
        """Called by Celery when the worker consumes."""
        worker_ready.send(sender=consumer)
        self._ready.set_result(None)

    def _run(self) -> None:
        self.start()  # returns after errors too
        if not self._ready.done():
            self._ready.set_exception(
                WorkerError("the worker did not start; its log has the reason")
            )


def _shut_down() -> None:
    raise WorkerShutdown(0)


@contextmanager
def _restored_celery_state() -> Iterator[None]:
    """Restores Celery's process-wide state after the block."""
    celery: Any = _state
    pools: Any = billiard_pool
    current, default, lock = celery._tls.current_app, celery.default_app, pools.Lock
    try:
        yield
    finally:
        celery._tls.current_app, celery.default_app, pools.Lock = current, default, lock
        celery._set_task_join_will_block(False)
        state.reset_state()
