"""Reads the replies of workers: which tasks they have. Pure.

A reply has one entry, by the worker's name. Its value is an object for `query_task`, for example
`{"id": ["active", {...}]}`; a list of objects for `scheduled` (`{"eta": ..., "request": {"id":
...}}`), `reserved` and `active` (`{"id": ...}`). Anything else is skipped: a worker replies
`{"error": ...}` to a command that it does not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def tasks_of(reply: Any) -> Iterator[tuple[str, bool]]:
    """The ids of the tasks that the worker has, each with whether the task runs."""
    for content in reply.values() if isinstance(reply, dict) else ():
        match content:
            case dict():
                for task_id, state in content.items():
                    yield task_id, isinstance(state, list) and state[:1] == ["active"]
            case list():
                for entry in content:
                    yield from _task_of(entry)


def _task_of(entry: Any) -> Iterator[tuple[str, bool]]:
    match entry:
        case {"request": {"id": str(task_id)}}:
            yield task_id, False
        case {"id": str(task_id), **more}:
            yield task_id, more.get("time_start") is not None
