"""When the states of tasks are read from a result backend that does not announce results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

FIRST_INTERVAL_S = 0.05
MAX_INTERVAL_S = 1.0
_INTERVAL_GROWTH = 1.5
_MAX_READS_AT_ONCE = 200
_MAX_BROKEN_READS = 8
"""An unreadable state is news after so many reads: it may have been half written before."""


@dataclass
class _Poll:
    """When a task's state is read next, and the state that was news last."""

    due_at: float
    interval_s: float = FIRST_INTERVAL_S
    last: bytes = b""
    broken_reads: int = 0


class PollSchedule:
    """A task's state is read first after 50 ms, then at intervals that grow to 1 s.

    Times are in seconds of a clock that is not set, such as `time.monotonic`.
    """

    def __init__(self) -> None:
        self._polls: dict[str, _Poll] = {}

    def due(self, pending: Iterable[str], now: float) -> list[str]:
        """The tasks to read now, of those in flight: at most 200, the longest due first.

        Tasks that are no longer in flight are forgotten.
        """
        self._polls = {
            task_id: self._polls.get(task_id) or _Poll(now + FIRST_INTERVAL_S)
            for task_id in pending
        }
        due = [task_id for task_id, poll in self._polls.items() if poll.due_at <= now]
        return sorted(due, key=lambda task_id: self._polls[task_id].due_at)[:_MAX_READS_AT_ONCE]

    def is_news(self, task_id: str, state: bytes, is_readable: bool, now: float) -> bool:
        """Whether the state that was read differs from the one before; schedules the next read.

        A task that was forgotten while its state was read has no news.
        """
        poll = self._polls.get(task_id)
        if poll is None:
            return False
        poll.interval_s = min(poll.interval_s * _INTERVAL_GROWTH, MAX_INTERVAL_S)
        poll.due_at = now + poll.interval_s
        poll.broken_reads = 0 if is_readable else poll.broken_reads + 1
        # A file is empty for a moment, between two states.
        if state in (b"", poll.last) or 0 < poll.broken_reads < _MAX_BROKEN_READS:
            return False
        poll.last = state
        return True
