"""The worker's option `--metrics HOST:PORT`.

https://docs.celeryq.dev/en/stable/userguide/extending.html#command-line-programs
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from celery import Celery, bootsteps

from forebay_workers.metrics.worker_metrics import MetricsError, WorkerMetrics

Start = Callable[[WorkerMetrics], None]


def add_option(app: Celery, on_start: Start) -> None:
    """Adds the option to the application's worker; `on_start` gets the metrics, before any fork."""

    class MetricsStep(bootsteps.Step):
        def __init__(self, parent: Any, metrics: str | None = None, **options: Any) -> None:
            super().__init__(parent, **options)
            if metrics is not None:
                try:
                    on_start(WorkerMetrics(metrics))
                except MetricsError as error:
                    raise SystemExit(f"forebay: {error}") from error

    app.user_options["worker"].add(
        click.Option(
            ("--metrics",), metavar="HOST:PORT", help="Serve Prometheus metrics, on loopback."
        )
    )
    app.steps["worker"].add(MetricsStep)
