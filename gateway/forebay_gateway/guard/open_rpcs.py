"""Ends RPCs when the identity of their caller ends: it has expired, or its key was revoked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import ceil

from forebay_gateway.identity.principal import Principal

Task = asyncio.Task[object]

_EXPIRED = "the token has expired; go on with a fresh one, by the id of the call"
_REVOKED = "the key of the token was revoked or changed; go on with another, by the id of the call"


class OpenRpcs(dict[Task, Principal]):
    """The RPCs of one guard, by the tasks that run their handlers; the guard adds and removes them.

    Within a second of the end of a caller's identity, its tasks are removed and cancelled, as if
    the caller had disconnected: the call goes on by its policy, and the caller can attach to it
    with a fresh token. Then all RPCs are looked at. That is rare; `asyncio.timeout` for each RPC
    would cost 5 µs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.timed: set[float] = set()
        """The seconds that have a timer. Most identities end at a whole second."""
        self._ended: dict[Task, str] = {}

    def set_timer(self, expires_at: float) -> None:
        """At the end of this second, the RPCs end whose callers expire in it."""
        second = ceil(expires_at)
        if second not in self.timed:
            self.timed.add(second)
            left_s = second - time.time()
            asyncio.get_running_loop().call_later(left_s, self._expire, second)

    def end_revoked(self, is_in_force: Callable[[Principal], bool]) -> None:
        """Ends the RPCs of callers whose proof is not in force any more."""
        revoked = {one for one in set(self.values()) if not is_in_force(one)}
        self._end(lambda principal: principal in revoked, _REVOKED)

    def take_back(self, task: Task) -> str | None:
        """Takes the cancellation of a removed task back; returns why its identity ended.

        None if the guard did not cancel it, or if it is also cancelled because the caller has
        disconnected.
        """
        why = self._ended.pop(task, None)
        return None if why is None or task.uncancel() > 0 else why

    def _expire(self, second: int) -> None:
        self.timed.discard(second)

        def has_expired(principal: Principal) -> bool:
            return principal.expires_at is not None and ceil(principal.expires_at) <= second

        self._end(has_expired, _EXPIRED)

    def _end(self, is_one: Callable[[Principal], bool], why: str) -> None:
        """Ends the RPCs of these callers."""
        for task in [task for task, principal in self.items() if is_one(principal)]:
            del self[task]
            if not task.done():
                self._ended[task] = why
                task.cancel()
