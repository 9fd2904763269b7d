"""Calls that wait for their task, and which of them have waited too long. Pure.

Nothing comes of a task that raises `Ignore`, of one whose worker was killed, or of a result
that was lost. So the workers are asked, now and then, for calls that are not heard of. A call of
which nothing was heard for its patience (the route's queue wait) is given up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from forebay.errors import ForebayError
from forebay.routes import Method
from forebay_gateway.admission.admission import Permit
from forebay_gateway.plain.task_outcome import Progress, Result

_ASK_EVERY_S = 5.0
_PROGRESS_KEPT = 64
_RUN_GRACE_S = 5.0


@dataclass(eq=False)
class PlainCall:
    """A call in flight; times are of the monotonic clock.

    `is_over` says that the task is; else whoever leaves the call has it revoked.
    """

    id: str
    method: Method
    permit: Permit
    patience_s: float
    run_time_s: float
    heard_at: float
    asked_at: float = -inf
    asks: int = 0
    begun_at: float = inf
    sent: bool = False
    is_over: bool = False
    progress: deque[Progress] = field(default_factory=lambda: deque(maxlen=_PROGRESS_KEPT))
    end: Result | ForebayError | None = None
    bell: asyncio.Event = field(default_factory=asyncio.Event)

    def ended(self, end: Result | ForebayError) -> None:
        """Takes how it ended; the first counts."""
        if self.end is None:
            self.end = end
            self.bell.set()

    def progressed(self, progress: Progress) -> None:
        """Takes a state on the way; where the caller is slow, the oldest go."""
        if self.end is None:
            self.progress.append(progress)
            self.bell.set()

    @property
    def _ask_every_s(self) -> float:
        return min(_ASK_EVERY_S, self.patience_s / 3)


class InFlight:
    """The calls in flight, by the id of their task, which is theirs."""

    def __init__(self) -> None:
        self._calls: dict[str, PlainCall] = {}
        self._answered_at = -inf

    def __iter__(self) -> Iterator[PlainCall]:
        return iter(tuple(self._calls.values()))

    def add(self, call: PlainCall) -> None:
        """A call that begins."""
        self._calls[call.id] = call

    def remove(self, call: PlainCall) -> None:
        """A call that is over."""
        self._calls.pop(call.id, None)

    def heard(self, task_id: str, now: float, *, running: bool = False) -> PlainCall | None:
        """Something was heard of the task; its call, or None where nobody waits for it."""
        call = self._calls.get(task_id)
        if call is not None:
            call.heard_at, call.asks = now, 0
            if running:
                call.begun_at = min(call.begun_at, now)
        return call

    def answered(self, now: float) -> None:
        """A worker has answered, whatever it has."""
        self._answered_at = now

    def to_ask(self, now: float) -> list[str]:
        """The tasks that the workers are to be asked for now."""
        due = [
            call
            for call in self._calls.values()
            if call.sent and now - max(call.heard_at, call.asked_at) >= call._ask_every_s
        ]
        for call in due:
            call.asked_at = now
            call.asks += 1
        return [call.id for call in due]

    def given_up(self, now: float) -> list[PlainCall]:
        """The calls of which nothing was heard for too long, with time to answer a question."""
        return [
            call
            for call in self._calls.values()
            if call.asks > 1 and call.end is None and now - call.heard_at > call.patience_s
        ]

    def overrun(self, now: float) -> list[PlainCall]:
        """The calls that run for longer than they may, where no worker ended them."""
        return [
            call
            for call in self._calls.values()
            if call.end is None and now - call.begun_at > call.run_time_s + _RUN_GRACE_S
        ]

    def workers_answer(self, call: PlainCall) -> bool:
        """Whether a worker has answered since the call was last heard of."""
        return self._answered_at > call.heard_at
