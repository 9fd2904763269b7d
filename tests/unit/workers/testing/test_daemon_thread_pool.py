"""The pool of a worker inside another process."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from forebay_workers.testing import daemon_thread_pool as daemon_threads
from forebay_workers.testing.daemon_thread_pool import TaskPool

TIMEOUT_S = 30.0


@pytest.fixture
def pool() -> Iterator[TaskPool]:
    """A pool of two slots."""
    pool = TaskPool(limit=2)
    yield pool
    pool.on_stop()


def test_as_many_tasks_run_at_a_time_as_there_are_slots(pool: TaskPool) -> None:
    begun, go_on, ended = threading.Semaphore(0), threading.Event(), threading.Semaphore(0)

    def task() -> None:
        begun.release()
        assert go_on.wait(TIMEOUT_S)

    for _ in range(3):
        pool.on_apply(task, callback=lambda _: ended.release())
    assert all(begun.acquire(timeout=TIMEOUT_S) for _ in range(2))
    assert len(pool.running()) == 2
    assert not begun.acquire(blocking=False)
    go_on.set()
    assert begun.acquire(timeout=TIMEOUT_S)
    assert all(ended.acquire(timeout=TIMEOUT_S) for _ in range(3))


def test_a_task_that_never_returns_is_reported_and_does_not_block_the_end(
    pool: TaskPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_threads, "STOP_TIMEOUT_S", 0.1)
    begun, go_on = threading.Semaphore(0), threading.Event()
    ran = []

    def stuck() -> None:
        begun.release()
        while not go_on.is_set():
            pass

    threads = [pool.on_apply(stuck) for _ in range(2)]
    assert all(begun.acquire(timeout=TIMEOUT_S) for _ in range(2))
    late = pool.on_apply(lambda: ran.append("late"))
    pool.on_stop()
    assert [at.split(" in ")[1] for at in pool.running()] == ["stuck", "stuck"]
    assert all(__file__ in at for at in pool.running())
    assert all(thread.daemon for thread in threads)
    go_on.set()
    for thread in (*threads, late):
        thread.join(TIMEOUT_S)
    assert pool.running() == []
    assert ran == []  # a task without a slot when the pool ended is not begun
