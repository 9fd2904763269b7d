"""The tasks that are told of the ends of calls, and whether a live worker has them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from forebay.routes import Method, OnEnd


class _Worker(Protocol):
    """A worker of Forebay's or of another application."""

    @property
    def queues(self) -> tuple[str, ...]: ...

    @property
    def tasks(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class EndTask:
    """A task that is told of the ends of these methods' calls."""

    on_end: OnEnd
    methods: tuple[str, ...]

    @property
    def problem(self) -> str:
        """What to say if no worker has it."""
        return (
            f"no live worker has the task {self.on_end.task!r}, which is to be told of the ends of "
            f"calls, in queue {self.on_end.queue!r}"
        )

    @property
    def fix(self) -> str:
        return (
            f"start a worker of queue {self.on_end.queue!r} whose application registers the task, "
            "or correct the route's `on_end`"
        )


def end_tasks(methods: Iterable[Method]) -> list[EndTask]:
    """The tasks of the methods' routes, in the order of their names."""
    names: dict[OnEnd, list[str]] = {}
    for method in methods:
        if method.route.on_end is not None:
            names.setdefault(method.route.on_end, []).append(method.name)
    return sorted(
        (EndTask(on_end, tuple(found)) for on_end, found in names.items()),
        key=lambda one: (one.on_end.task, one.on_end.queue),
    )


def without_worker(tasks: Sequence[EndTask], workers: Sequence[_Worker]) -> list[EndTask]:
    """The tasks that no worker of their queue has registered."""
    return [
        one
        for one in tasks
        if not any(
            one.on_end.queue in worker.queues and one.on_end.task in worker.tasks
            for worker in workers
        )
    ]
