"""Celery's signals start and shut down a worker's lease keeper; forks pause it."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import uuid
from importlib.metadata import version
from typing import Any
from weakref import WeakSet

from billiard.util import get_logger as billiard_logger
from celery import Celery
from celery.signals import (
    after_setup_logger,
    after_setup_task_logger,
    task_unknown,
    worker_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from forebay_backends.aio.outage_log import RepeatFilter
from forebay_backends.ledger.presence import WorkerPresence
from forebay_backends.ledger.server_check import url_problems
from forebay_backends.process.memory import freeze_startup_objects
from forebay_backends.settings import SettingsError
from forebay_backends.telemetry.log_lines import JsonLines, TextLines, label_log_records
from forebay_backends.telemetry.tracing import TracingError, import_tracing
from forebay_backends.urls import RedisServer
from forebay_workers.celery_hooks.frequent_restarts import FrequentRestarts
from forebay_workers.celery_hooks.hidden_bodies import HiddenBodies
from forebay_workers.celery_hooks.message_queue import queue_of
from forebay_workers.celery_hooks.missing_permissions import MissingPermissions
from forebay_workers.lease.keeper import CHECK_INTERVAL_S, LeaseKeeper
from forebay_workers.metrics.option import add_option
from forebay_workers.metrics.worker_metrics import WorkerMetrics
from forebay_workers.runtime.green_threads import green_threads_problem
from forebay_workers.runtime.process import checks, current_worker, flush_spans, keyring, settings

_CONSUMING_LOGGER = "celery.worker.consumer.consumer"
_REPEATING_LOGGERS = (
    *(_CONSUMING_LOGGER, "celery.worker.consumer.connection"),
    *("kombu.connection", "kombu.common", "kombu.transport.redis", "kombu.transport.virtual.base"),
)

_applications: WeakSet[Celery] = WeakSet()


def follow(app: Celery) -> None:
    """Handles the signals of the application's workers.

    Celery sends each signal to the whole process, so signals of other applications are ignored.
    """
    _applications.add(app)
    add_option(app, _set_metrics)
    after_setup_logger.connect(on_logger_set_up)
    after_setup_task_logger.connect(on_logger_set_up)
    worker_init.connect(on_worker_init)
    worker_ready.connect(on_worker_ready)
    task_unknown.connect(on_task_unknown)
    worker_shutting_down.connect(on_worker_shutting_down)
    worker_process_shutdown.connect(on_child_shutdown)
    worker_shutdown.connect(on_worker_shutdown)


def on_worker_init(sender: Any, **_: object) -> None:
    """Names the worker, before its pool starts; ends a process that can't run handlers."""
    if sender.app not in _applications:
        return
    problem = green_threads_problem(sender.pool_cls)
    if problem is not None:
        raise SystemExit(f"forebay: {problem}")  # Celery would log an Exception, and go on
    worker = current_worker()
    if not worker.is_hosted:
        label_log_records()
        _import_tracing()
    try:
        keyring()
        checks()
        if not worker.is_hosted:
            freeze_startup_objects()  # before any fork, so that children share it
            _filter_logs()
            _check_backend_urls()
    except SettingsError as error:
        raise SystemExit(f"forebay: {error}") from None
    worker.id = f"{sender.hostname}.{uuid.uuid4()}"
    worker.pid = os.getpid()
    worker.slots = max(1, sender.concurrency or 1)
    if "thread" in str(sender.pool_cls):  # a class, or its name
        # Celery's threads do not wake the consuming loop when they finish: with prefetch off,
        # a message that finds every thread busy waits for up to 1 s after one is free.
        sender.app.conf.worker_disable_prefetch = False


def _check_backend_urls() -> None:
    """Ends the process if Celery could not use the broker: it would try again all the time.

    If Redis then refuses a command, the log names the rule that is missing.
    """
    backends = settings().backends()
    if isinstance(backends.broker, RedisServer):
        for name in ("celery.worker", _CONSUMING_LOGGER):
            _filter_log(name, MissingPermissions(backends.broker.key_prefix))
    servers: dict[str, object] = {"ledger": backends.ledger}
    if not backends.broker_is_ledger:
        servers["broker"] = backends.broker
    if problems := asyncio.run(url_problems(servers)):
        raise SystemExit("\n".join(f"forebay: {problem}" for problem in problems))


def _set_metrics(metrics: WorkerMetrics) -> None:
    current_worker().metrics = metrics


def _import_tracing() -> None:
    """Imports tracing before the fork: Celery would only log a child's error and fork again."""
    try:
        import_tracing()
    except TracingError as error:
        raise SystemExit(f"forebay: {error}") from error


def on_logger_set_up(logger: logging.Logger, **_: object) -> None:
    """Gives Celery's handlers lines that show the call; an application's own are left alone."""
    as_json = settings().log_format == "json"
    for handler in (*logger.handlers, *billiard_logger().handlers):
        formatter = handler.formatter
        if formatter is not None and not isinstance(formatter, TextLines | JsonLines):
            handler.setFormatter(JsonLines() if as_json else TextLines(formatter))


def _filter_logs() -> None:
    """Shortens the log about an unreachable broker; hides bodies of dropped messages."""
    _filter_log(_CONSUMING_LOGGER, FrequentRestarts())
    for name in _REPEATING_LOGGERS:
        _filter_log(name, RepeatFilter())
    for name in (_CONSUMING_LOGGER, "celery.pool"):
        _filter_log(name, HiddenBodies())


def _filter_log(name: str, new: logging.Filter) -> None:
    """Adds a filter to a logger, unless it has one of that kind."""
    logger = logging.getLogger(name)
    if not any(isinstance(each, type(new)) for each in logger.filters):
        logger.addFilter(new)


def on_worker_ready(sender: Any, **_: object) -> None:
    """Starts the lease keeper when the worker starts to consume."""
    if sender.app not in _applications:
        return
    worker = current_worker()
    presence = _presence(sender)
    if presence.pool == "prefork" and sender.hub is not None:
        # By default Celery checks its children every 5 s.
        sender.hub.call_repeatedly(CHECK_INTERVAL_S, sender.pool.maintain_pool)
    consumed = lambda: _consumed(sender)  # noqa: E731
    worker.keeper = LeaseKeeper(presence, settings(), consumed, worker.metrics, keyring())
    worker.keeper.start()


def on_task_unknown(sender: Any, message: Any, name: str, **_: object) -> None:
    """Collects a message that Celery drops because its task is not registered."""
    keeper = current_worker().keeper
    if keeper is not None and sender.app in _applications:
        # Without signatures, a transport that is not ours may leave it to the message.
        queue = queue_of(sender, message) or str(message.delivery_info["routing_key"])
        keeper.dropped.on_task_unknown(message, name, queue)


def on_worker_shutting_down(**_: object) -> None:
    """Releases the calls that have not begun, when the worker receives SIGTERM."""
    keeper = current_worker().keeper
    if keeper is not None:
        keeper.begin_shutdown()


def on_worker_shutdown(sender: Any, **_: object) -> None:
    """Stops the lease keeper when the worker's tasks have ended."""
    keeper = current_worker().keeper
    if keeper is not None and sender.app in _applications:
        keeper.close()
    if sender.app in _applications:
        flush_spans()


def on_child_shutdown(**_: object) -> None:
    """Exports the spans of a pool's child that ends."""
    flush_spans()


def _presence(consumer: Any) -> WorkerPresence:
    worker, app = current_worker(), consumer.controller.app
    return WorkerPresence(
        worker=worker.id,
        queues=_consumed(consumer),
        tasks=tuple(sorted(name for name in app.tasks if not name.startswith("celery."))),
        slots=worker.slots,
        pool=_name_of(type(consumer.pool)),
        version=version("forebay"),
        signing_keys=keyring().ids,
        serves={name: task.serves for name, task in app.tasks.items() if hasattr(task, "serves")},
    )


def _name_of(pool: type) -> str:
    return str(getattr(pool, "shown_as", pool.__module__.rpartition(".")[2]))


def _consumed(consumer: Any) -> tuple[str, ...]:
    """The queues that the worker consumes now; `celery control` adds and cancels some."""
    return tuple(sorted(consumer.controller.app.amqp.queues.consume_from))


def _before_fork() -> None:
    keeper = current_worker().keeper
    if keeper is not None:
        keeper.fork_pause.begin()


def _after_fork() -> None:
    keeper = current_worker().keeper
    if keeper is not None:
        keeper.fork_pause.end()


def _in_child() -> None:
    """Drops the keeper, and the lock, which another thread may have held during the fork."""
    worker = current_worker()
    worker.keeper = None
    if worker.metrics is not None:
        worker.metrics.in_child()
    worker.lock = threading.Lock()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
