"""The time that a handler has to end after a stop. Pure; the clock is an argument.

A handler's own process tells it to stop. If the handler still runs when its grace has passed, the
prefork pool's child that runs it is killed. Other pools have no child process to kill.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class StopGrace(Generic[K]):
    """Stopped tasks, and when they were stopped (s, monotonic)."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._stopped_at: dict[K, float] = {}

    def start(self, task: K, now: float) -> None:
        """Starts the grace of a task; a second stop does not prolong it."""
        self._stopped_at.setdefault(task, now)

    def expired(self, running: Collection[K], now: float) -> list[K]:
        """Returns the running tasks whose grace has passed, each once; forgets ended ones."""
        self._stopped_at = {
            task: stopped_at for task, stopped_at in self._stopped_at.items() if task in running
        }
        expired = [
            task
            for task, stopped_at in self._stopped_at.items()
            if now - stopped_at >= self._grace_s
        ]
        for task in expired:
            self._stopped_at[task] = float("inf")
        return expired
