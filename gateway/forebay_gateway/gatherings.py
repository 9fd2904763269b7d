"""Sending what has gathered, when it is time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf
from typing import Generic, TypeVar

from forebay.routes import Method
from forebay_gateway.gathering import Gathered, Gathering

C = TypeVar("C", bound=Gathered)


class Gatherings(Generic[C]):
    """The calls that gather at a gateway, by method and priority.

    `slots` says how many live ones a queue has; `send` sends calls, and tells their
    gathering what they are part of from then on.
    """

    def __init__(
        self, slots: Callable[[str], int], send: Callable[[Gathering[C], list[C]], None]
    ) -> None:
        self._slots = slots
        self._send = send
        self._by_lane: dict[tuple[str, int], Gathering[C]] = {}
        self._timers: dict[Gathering[C], asyncio.TimerHandle] = {}

    def of(self, method: Method, priority: int) -> Gathering[C]:
        """Where calls of the method and priority gather."""
        lane = method.name, priority
        if lane not in self._by_lane:
            self._by_lane[lane] = Gathering(method.route)
        return self._by_lane[lane]

    def send_due(self, gathering: Gathering[C]) -> None:
        """Sends what is to go now, and sees to it that the rest goes in time."""
        slots = self._slots(gathering.queue)
        while calls := gathering.take(time.monotonic(), slots):
            self._send(gathering, calls)
        if gathering.due_at < inf and gathering not in self._timers:
            self._timers[gathering] = asyncio.get_running_loop().call_later(
                gathering.due_at - time.monotonic(), self._on_time, gathering
            )

    def _on_time(self, gathering: Gathering[C]) -> None:
        del self._timers[gathering]
        self.send_due(gathering)
