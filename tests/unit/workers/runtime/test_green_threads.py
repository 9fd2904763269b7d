"""Celery's pools that are refused."""

from __future__ import annotations

import pytest
from celery.concurrency import prefork, solo, thread

from forebay_workers.runtime.green_threads import green_threads_problem


@pytest.mark.parametrize(
    "pool", ["prefork", "threads", "solo", prefork.TaskPool, thread.TaskPool, solo.TaskPool]
)
def test_pools_with_threads_or_processes_are_accepted(pool: object) -> None:
    assert green_threads_problem(pool) is None


@pytest.mark.parametrize("pool", ["gevent", "eventlet", "celery.concurrency.eventlet:TaskPool"])
def test_pools_with_green_threads_are_refused(pool: str) -> None:
    problem = green_threads_problem(pool)
    assert problem is not None
    assert "prefork, threads and solo" in problem
    assert "forebay_workers.asyncio_pool:TaskPool" in problem
