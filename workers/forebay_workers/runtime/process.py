"""The resources of one process of a worker: its name, ledger, control channel and clock.

A worker's main process claims calls and keeps their leases (`lease/keeper.py`). With the
prefork pool its children run the handlers, with the other pools the main process does.
Each process opens its resources after the fork, when it first uses them.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from forebay.checks import CheckFactory, load_checks
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.expected_clock import ExpectedClock
from forebay_backends.ledger.replication import Replicas
from forebay_backends.ledger.seals import Seals
from forebay_backends.process.memory import keep_freed_memory
from forebay_backends.settings import Settings, SettingsError, load_settings
from forebay_backends.signing.keyring import Keyring
from forebay_backends.telemetry.tracing import make_tracing
from forebay_backends.urls import RedisServer
from forebay_workers.coroutines.event_loop import HandlerLoop
from forebay_workers.coroutines.ledger import LoopLedger
from forebay_workers.handler.absent_gateways import AbsentGateways
from forebay_workers.handler.control_channel import ControlChannel
from forebay_workers.handler.native_threads import share_threads, unshare_threads
from forebay_workers.lease.keeper import LeaseKeeper
from forebay_workers.metrics.worker_metrics import WorkerMetrics

if TYPE_CHECKING:
    from forebay_backends.telemetry.attempt_span import TaskTrace
    from forebay_backends.telemetry.spans import Tracing

T = TypeVar("T")


class Runtime:
    """The resources of a process that runs handlers; each is opened when first used."""

    def __init__(self, worker: str, slots: int) -> None:
        self.worker = worker
        self.slots = slots
        self.absent_gateways = AbsentGateways()
        self.checks = checks()
        self._made: dict[Callable[[], Any], Any] = {}
        self._making = threading.RLock()
        share_threads(slots)
        keep_freed_memory()

    @property
    def settings(self) -> Settings:
        return self._once(settings)

    @property
    def ledger(self) -> BlockingLedger:
        """The connection for all operations; pub/sub has connections of its own."""
        return self._once(self._make_ledger)

    @property
    def control(self) -> ControlChannel:
        """The running thread that receives credit and stops."""
        return self._once(self._make_control_channel)

    @property
    def loop(self) -> HandlerLoop:
        """The running thread with the event loop of coroutine handlers."""
        return self._once(self._make_loop)

    def ran(self, method: str, seconds: float) -> None:
        """Counts the run of an attempt."""
        if _worker.metrics is not None:
            _worker.metrics.ran(method, seconds)

    def report(self) -> None:
        """Reports what this process has counted; call it at the end of a task."""
        if _worker.metrics is not None:
            _worker.metrics.report()

    def task_trace(self, size: int) -> TaskTrace | None:
        """The trace of a task of `size` calls; None if the process traces nothing."""
        tracing = self._once(self._make_tracing)
        return None if tracing is None else tracing.task(size)

    def flush_spans(self) -> None:
        """Exports the spans that have ended."""
        tracing: Tracing | None = self._made.get(self._make_tracing)
        if tracing is not None:
            tracing.flush()

    def close(self) -> None:
        self.flush_spans()
        with self._making:
            if self._make_control_channel in self._made:
                self.control.close()
            if self._make_loop in self._made:
                self.loop.close()
            if self._make_ledger in self._made:
                self.ledger.close()
        unshare_threads()

    def _make_ledger(self) -> BlockingLedger:
        return BlockingLedger(self._server(), **self._ledger_options())

    def _make_loop(self) -> HandlerLoop:
        # Read here: the loop's thread would wait for the lock that this thread holds.
        server, options = self._server(), self._ledger_options()
        return HandlerLoop(self.slots, lambda: LoopLedger(Ledger(server, **options)))

    def _server(self) -> RedisServer:
        return self.settings.backends().ledger

    def _ledger_options(self) -> dict[str, Any]:
        settings, metrics = self.settings, _worker.metrics
        return {
            "replicas": Replicas(settings.ledger_min_replicas, settings.ledger_replica_timeout_s),
            "observe": metrics.ledger if metrics is not None else None,
            "seals": Seals(keyring()),
            "clock": ExpectedClock(),
        }

    def _make_control_channel(self) -> ControlChannel:
        parent = _worker.pid if os.getpid() != _worker.pid else None
        return ControlChannel(
            self.settings.backends().ledger,
            self.ledger,
            self.worker,
            parent,
            self.settings.cancel_grace_s,
        )

    def _make_tracing(self) -> Tracing | None:
        return make_tracing("forebay-worker")

    def _once(self, make: Callable[[], T]) -> T:
        """Calls `make` once and returns its result to all threads."""
        with self._making:
            if make not in self._made:
                self._made[make] = make()
            made: T = self._made[make]
            return made


class Worker:
    """The worker that this process belongs to; signals.py fills it in."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings
        self.id = f"unnamed.{uuid.uuid4()}"
        self.slots = 1
        self.pid = os.getpid()
        self.runtime: Runtime | None = None
        self.runtime_pid = 0
        self.lock = threading.Lock()
        self.keeper: LeaseKeeper | None = None
        self.metrics: WorkerMetrics | None = None
        self.keyring: Keyring | None = None
        self.checks: dict[str, CheckFactory] | None = None

    @property
    def is_hosted(self) -> bool:
        """Whether the worker runs inside a process that is not its own, such as a test's."""
        return self.settings is not None


_worker = Worker()


def current_worker() -> Worker:
    return _worker


@contextmanager
def hosted_worker(settings: Settings) -> Iterator[None]:
    """Lets a process that is not a worker's own, such as a test's, run a worker.

    Closes the worker's resources when the block ends. Raises RuntimeError if the process has a
    worker already.
    """
    global _worker
    if _worker.is_hosted:
        raise RuntimeError("this process has a worker already; it can have one at a time")
    _worker = Worker(settings)
    try:
        yield
    finally:
        hosted, _worker = _worker, Worker()
        if hosted.runtime is not None:
            hosted.runtime.close()


def settings() -> Settings:
    return _worker.settings or load_settings()


def keyring() -> Keyring:
    """The keys that sign and verify messages; a forked child has those of its parent.

    Raises SettingsError when they are first read.
    """
    worker = _worker
    if worker.keyring is None:
        worker.keyring = settings().keyring(_count_refused)
    return worker.keyring


def checks() -> dict[str, CheckFactory]:
    """The request checks of each method; the gateway runs the same ones.

    They are read before the fork: a search through all installed packages takes each child 6 ms and
    more. Raises SettingsError when they are first read.
    """
    worker = _worker
    if worker.checks is None:
        try:
            worker.checks = load_checks(settings().checks)
        except ValueError as error:
            raise SettingsError(str(error)) from error
    return worker.checks


def _count_refused(reason: str) -> None:
    if _worker.metrics is not None:
        _worker.metrics.message_refused(reason)


def runtime() -> Runtime:
    """Returns this process's resources; a forked child gets new ones."""
    with _worker.lock:
        if _worker.runtime is None or _worker.runtime_pid != os.getpid():
            _worker.runtime = Runtime(_worker.id, _worker.slots)
            _worker.runtime_pid = os.getpid()
        return _worker.runtime


def flush_spans() -> None:
    """Exports the spans of this process that have ended."""
    if _worker.runtime is not None and _worker.runtime_pid == os.getpid():
        _worker.runtime.flush_spans()
