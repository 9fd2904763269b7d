"""Counts in a worker's main process and in a pool's children, and serves what was counted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

from forebay_backends.metrics.instruments import BY_NAME, Kind, Source
from forebay_backends.metrics.registry import Figures, Labels, Metrics
from forebay_backends.settings.addresses import is_host_and_port, is_loopback
from forebay_workers.celery_hooks.request import CallRequest, reserved_calls
from forebay_workers.metrics.http_server import MetricsServer
from forebay_workers.metrics.reports import Reports

_log = logging.getLogger(__name__)


class MetricsError(Exception):
    """Metrics can't be served; the message says why and what to do."""


class WorkerMetrics:
    """Made in the main process, before any fork; serves on HOST:PORT, which must be loopback.

    Raises MetricsError if it can't.
    """

    def __init__(self, listen: str) -> None:
        if not is_host_and_port(listen):
            raise MetricsError(f"--metrics {listen}: expected HOST:PORT, such as 127.0.0.1:9464")
        if not is_loopback(listen):
            raise MetricsError(
                f"--metrics {listen}: expected a loopback address, such as 127.0.0.1:9464: anyone "
                "who reaches the port can read the metrics"
            )
        self._metrics = Metrics({Source.WORKER})
        self._metrics.read_figures.append(_calls)
        self._reports = Reports()
        self._lock = threading.Lock()  # a threads pool's handlers and the reports of children
        self._instruments: dict[tuple[str, Labels], Callable[[float], None]] = {}
        self._is_child = False
        try:
            self._server = MetricsServer(listen, self._metrics.registry)
        except OSError as error:
            raise MetricsError(
                f"can't serve metrics on {listen}: {error.strerror}; choose another --metrics "
                "HOST:PORT"
            ) from error
        self._reports.receive(self._apply)
        _log.info("metrics on %s", self._server.address)

    def observe(self, name: str, labels: Labels, value: float = 1) -> None:
        """Adds `value` to a counter, or observes it in a histogram."""
        if self._is_child:
            self._reports.add(name, labels, value)
        else:
            self._apply(name, labels, (value,))

    def ledger(self, operation: str, seconds: float) -> None:
        """Counts a round trip to the ledger."""
        self.observe("forebay_ledger_seconds", (operation,), seconds)

    def ran(self, method: str, seconds: float) -> None:
        """Counts an attempt's run."""
        self.observe("forebay_run_seconds", (method,), seconds)

    def attempt_lost(self, queue: str) -> None:
        self.observe("forebay_attempts_lost_total", (queue,))

    def rerun(self, queue: str) -> None:
        self.observe("forebay_reruns_total", (queue,))

    def message_resent(self, queue: str) -> None:
        self.observe("forebay_messages_resent_total", (queue,))

    def message_refused(self, reason: str) -> None:
        self.observe("forebay_messages_refused_total", (reason,))

    def report(self) -> None:
        """Reports what a child has counted, soon; does nothing in the main process."""
        if self._is_child:
            self._reports.task_ended()

    def in_child(self) -> None:
        """Call this in a pool child after the fork."""
        self._is_child = True
        self._reports.in_child()
        self._server.close_in_child()

    def _apply(self, name: str, labels: Labels, values: Iterable[float]) -> None:
        with self._lock:
            add = self._instruments.get((name, labels))
            if add is None:
                add = self._instruments[name, labels] = self._instrument(name, labels)
            for value in values:
                add(value)

    def _instrument(self, name: str, labels: Labels) -> Callable[[float], None]:
        if BY_NAME[name].kind is Kind.COUNTER:
            return self._metrics.counter(name).labels(*labels).inc
        return self._metrics.histogram(name).labels(*labels).observe


def _calls() -> Figures:
    calls: dict[Labels, float] = {}
    for request in reserved_calls():
        labels = (_method(request), "RUNNING" if request.begun else "RESERVED")
        calls[labels] = calls.get(labels, 0) + len(request.calls)
    return {"forebay_calls": calls}


def _method(request: CallRequest) -> str:
    task: Any = request.task
    method, _ = task.serves
    return str(method)
