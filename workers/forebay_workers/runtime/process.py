"""What one process of a worker holds: its name, its ledger, its ear.

A worker's main process claims calls and answers for them (`keeper.py`); with the
prefork pool its children run the handlers, with the others it does itself. What
is opened here is opened after the fork, by the process that uses it.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, TypeVar

from forebay.checks import CheckFactory, load_checks
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.presence import WorkerPresence
from forebay_backends.process.memory import freeze_startup_objects, keep_freed_memory
from forebay_backends.settings import Settings, load_settings
from forebay_workers.handler.control_channel import ControlChannel
from forebay_workers.handler.ledger_clock import LedgerClock
from forebay_workers.handler.native_threads import share_threads, unshare_threads
from forebay_workers.lease.keeper import MIND_EVERY_S, LeaseKeeper

T = TypeVar("T")


class Runtime:
    """The resources of a process that runs handlers; each is opened when first used."""

    def __init__(self, worker: str, slots: int) -> None:
        self.worker = worker
        self._made: dict[Callable[[], Any], Any] = {}
        self._making = threading.RLock()
        share_threads(slots)
        keep_freed_memory()

    @property
    def settings(self) -> Settings:
        """The worker's settings."""
        return self._once(settings)

    @property
    def ledger(self) -> BlockingLedger:
        """The connection for everything but pub/sub."""
        return self._once(self._make_ledger)

    @property
    def control(self) -> ControlChannel:
        """The thread that hears of credit and of stops; started."""
        return self._once(self._make_control_channel)

    @property
    def clock(self) -> LedgerClock:
        """The ledger's clock."""
        return self._once(self._make_clock)

    @property
    def checks(self) -> dict[str, CheckFactory]:
        """The checks that the gateway runs, too."""
        return self._once(self._make_checks)

    def close(self) -> None:
        """Lets go of what was opened."""
        with self._making:
            if self._make_control_channel in self._made:
                self.control.close()
            if self._make_ledger in self._made:
                self.ledger.close()
        unshare_threads()

    def _make_ledger(self) -> BlockingLedger:
        return BlockingLedger(self.settings.backends().ledger_url)

    def _make_control_channel(self) -> ControlChannel:
        parent = _worker.pid if os.getpid() != _worker.pid else None
        return ControlChannel(
            self.settings.backends().ledger_url,
            self.ledger,
            self.worker,
            parent,
            self.settings.cancel_grace_s,
        )

    def _make_clock(self) -> LedgerClock:
        return LedgerClock(self.ledger)

    def _make_checks(self) -> dict[str, CheckFactory]:
        return load_checks(self.settings.checks)

    def _once(self, make: Callable[[], T]) -> T:
        """What `make` makes, the same for all threads."""
        with self._making:
            if make not in self._made:
                self._made[make] = make()
            made: T = self._made[make]
            return made


class _Worker:
    """The worker that this process belongs to."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings
        self.id = f"unnamed.{uuid.uuid4()}"
        self.slots = 1
        self.pid = os.getpid()
        self.runtime: Runtime | None = None
        self.runtime_pid = 0
        self.lock = threading.Lock()
        self.keeper: LeaseKeeper | None = None

    @property
    def is_hosted(self) -> bool:
        """Whether the process is not the worker's own."""
        return self.settings is not None


_worker = _Worker()


@contextmanager
def hosting(settings: Settings) -> Iterator[None]:
    """This process, which is not a worker's own, has one with these settings in the block.

    Nothing is left of it then. Raises RuntimeError where the process has one already.
    """
    global _worker
    if _worker.is_hosted:
        raise RuntimeError("this process has a worker already; it can have one at a time")
    _worker = _Worker(settings)
    try:
        yield
    finally:
        hosted, _worker = _worker, _Worker()
        if hosted.runtime is not None:
            hosted.runtime.close()


def settings() -> Settings:
    """The worker's settings."""
    return _worker.settings or load_settings()


def runtime() -> Runtime:
    """This process's resources; made anew after a fork."""
    with _worker.lock:
        if _worker.runtime is None or _worker.runtime_pid != os.getpid():
            _worker.runtime = Runtime(_worker.id, _worker.slots)
            _worker.runtime_pid = os.getpid()
        return _worker.runtime


def wanted(call_ids: Collection[str]) -> bool:
    """Whether anyone may wait for any of the ephemeral calls."""
    return _worker.keeper is None or _worker.keeper.wanted(call_ids)


def slots() -> int:
    """How many calls this worker runs at a time."""
    return _worker.slots


def on_worker_init(sender: Any, **_: object) -> None:
    """Celery's signal, before the pool starts: names the worker."""
    if not _worker.is_hosted:
        freeze_startup_objects()  # before any fork, so that children share it
    _worker.id = f"{sender.hostname}.{uuid.uuid4()}"
    _worker.pid = os.getpid()
    _worker.slots = max(1, sender.concurrency or 1)
    if "thread" in str(sender.pool_cls):  # a class, or its name
        # Its threads do not wake the loop that consumes: with prefetch off, a message that
        # finds all of them taken waits for up to 1 s when one is free again.
        sender.app.conf.worker_disable_prefetch = False


def on_worker_ready(sender: Any, **_: object) -> None:
    """Celery's signal, when the worker consumes: its keeper starts."""
    controller = sender.controller
    presence = WorkerPresence(
        worker=_worker.id,
        queues=tuple(sorted(controller.app.amqp.queues.consume_from)),
        tasks=tuple(
            sorted(name for name in controller.app.tasks if not name.startswith("celery."))
        ),
        slots=_worker.slots,
        pool=type(sender.pool).__module__.rpartition(".")[2],
        version=version("forebay"),
        serves={
            name: task.serves
            for name, task in controller.app.tasks.items()
            if hasattr(task, "serves")
        },
    )
    if presence.pool == "prefork" and sender.hub is not None:
        # Of itself Celery looks after its children every 5 s.
        sender.hub.call_repeatedly(MIND_EVERY_S, sender.pool.maintain_pool)
    _worker.keeper = LeaseKeeper(presence, settings())
    _worker.keeper.start()


def on_task_unknown(sender: Any, message: Any, name: str, **_: object) -> None:
    """Celery's signal, when it drops a message whose task is not registered here."""
    if _worker.keeper is not None:
        _worker.keeper.dropped.on_task_unknown(message, name)


def on_worker_shutting_down(**_: object) -> None:
    """Celery's signal, when the worker is told to end: what has not begun goes back."""
    if _worker.keeper is not None:
        _worker.keeper.give_back()


def on_worker_shutdown(**_: object) -> None:
    """Celery's signal, when the worker has ended its tasks."""
    if _worker.keeper is not None:
        _worker.keeper.stop()


def _before_fork() -> None:
    if _worker.keeper is not None:
        _worker.keeper.standstill.begin()


def _after_fork() -> None:
    if _worker.keeper is not None:
        _worker.keeper.standstill.end()


def _in_child() -> None:
    """It has no keeper, and may have been forked while another thread held the lock."""
    _worker.keeper = None
    _worker.lock = threading.Lock()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
