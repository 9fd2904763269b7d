"""Reads the replies of workers: which tasks they have, and which tasks have rate limits. Pure.

A reply has one entry, by the worker's name. Its value is an object for `query_task`, for example
`{"id": ["active", {...}]}`; a list of objects for `scheduled` (`{"eta": ..., "request": {"id":
...}}`), `reserved` and `active` (`{"id": ...}`); a list of strings for `registered`
(`"shop.add [rate_limit=1/m]"`). Anything else is skipped: a worker replies `{"error": ...}` to a
command that it does not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def tasks_of(reply: Any) -> Iterator[tuple[str, bool]]:
    """The ids of the tasks that the worker has, each with whether the task runs."""
    for content in _contents(reply):
        match content:
            case dict():
                for task_id, state in content.items():
                    yield task_id, isinstance(state, list) and state[:1] == ["active"]
            case list():
                for entry in content:
                    yield from _task_of(entry)


def rate_limited_tasks_of(reply: Any) -> Iterator[str]:
    """The names of the tasks that the worker limits in their rate."""
    for content in _contents(reply):
        for entry in content if isinstance(content, list) else ():
            if isinstance(entry, str) and "[rate_limit=" in entry:
                yield entry.partition(" ")[0]


def _contents(reply: Any) -> Iterator[Any]:
    if isinstance(reply, dict):
        yield from reply.values()


def _task_of(entry: Any) -> Iterator[tuple[str, bool]]:
    match entry:
        case {"request": {"id": str(task_id)}}:
            yield task_id, False
        case {"id": str(task_id), **more}:
            yield task_id, more.get("time_start") is not None
