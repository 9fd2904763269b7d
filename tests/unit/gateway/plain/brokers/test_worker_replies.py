"""Workers' replies to the gateway's queries."""

from __future__ import annotations

from typing import Any

import pytest

from forebay_gateway.plain.brokers.worker_replies import tasks_of

WORKER = "celery@host"
TASKS: list[tuple[Any, list[tuple[str, bool]]]] = [
    ({"a": ["active", {}], "b": ["reserved", {}]}, [("a", True), ("b", False)]),
    ([{"eta": None, "priority": 6, "request": {"id": "a"}}], [("a", False)]),
    (
        [{"id": "a", "time_start": None}, {"id": "b", "time_start": 1.5}],
        [("a", False), ("b", True)],
    ),
    ([], []),
    ([None, {}, {"request": None}, {"id": 3}, ["a"], "a"], []),
    ({"error": "No such command"}, [("error", False)]),  # no task has this id
    (None, []),
]


@pytest.mark.parametrize(("content", "expected"), TASKS)
def test_a_reply_lists_the_tasks_that_a_worker_has(
    content: Any, expected: list[tuple[str, bool]]
) -> None:
    assert list(tasks_of({WORKER: content})) == expected


@pytest.mark.parametrize("reply", [None, [], "x", 3, {WORKER: 3}, {WORKER: {"a": 1}}])
def test_anything_else_is_skipped(reply: Any) -> None:
    assert [task for task, _ in tasks_of(reply) if task != "a"] == []
