"""Ends RPCs when the identity of their caller ends: it has expired, or its key was revoked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import ceil

from forebay_gateway.identity.principal import Principal
from forebay_gateway.rpc.context import Context, Handler

Task = asyncio.Task[object]

_EXPIRED = "the token has expired; go on with a fresh one, by the id of the call"
_REVOKED = "the key of the token was revoked or changed; go on with another, by the id of the call"


class IdentityEnded(Exception):
    """The caller's identity ended while its RPC was served; the message says why."""


class OpenRpcs:
    """One per guard. RPCs whose callers expire within the same second share a timer.

    So an RPC costs 2 µs; `asyncio.timeout` for each would cost 5.
    """

    def __init__(self) -> None:
        self._by_second: dict[int, set[Task]] = {}
        self._by_principal: dict[Principal, set[Task]] = {}
        self._ended: dict[Task, str] = {}

    async def serve(self, handler: Handler, context: Context) -> bytes | None:
        """Serves the RPC; raises IdentityEnded within a second of the end of the caller's identity.

        The handler is then cancelled, as if the caller had disconnected: the call goes on by its
        policy, and the caller can attach to it with a fresh token.
        """
        principal, task = context.principal, asyncio.current_task()
        if task is None:
            return await handler.serve(context)
        cancelling = task.cancelling()
        expiring = None if principal.expires_at is None else self._expiring(principal.expires_at)
        if expiring is not None:
            expiring.add(task)
        self._by_principal.setdefault(principal, set()).add(task)
        try:
            return await handler.serve(context)
        except asyncio.CancelledError as error:
            why = self._ended.get(task)
            if why is None:
                raise
            others = self._forget(task) > cancelling  # the caller has disconnected, too
            if others or context.code is not None:  # or the status is on its way
                raise
            raise IdentityEnded(why) from error
        finally:
            if expiring is not None:
                expiring.discard(task)
            self._closed(principal, task)
            if task in self._ended:
                self._forget(task)

    def end_revoked(self, is_in_force: Callable[[Principal], bool]) -> None:
        """Ends the RPCs of callers whose proof is not in force any more."""
        for principal, tasks in self._by_principal.items():
            if not is_in_force(principal):
                self._end(tasks, _REVOKED)

    def _closed(self, principal: Principal, task: Task) -> None:
        tasks = self._by_principal[principal]
        tasks.discard(task)
        if not tasks:
            del self._by_principal[principal]

    def _expiring(self, expires_at: float) -> set[Task]:
        """The tasks of RPCs whose callers expire in that second; they end at its end."""
        second = ceil(expires_at)
        tasks = self._by_second.get(second)
        if tasks is None:
            tasks = self._by_second[second] = set()
            left_s = second - time.time()
            asyncio.get_running_loop().call_later(left_s, self._expire, second)
        return tasks

    def _expire(self, second: int) -> None:
        self._end(self._by_second.pop(second, set()), _EXPIRED)

    def _end(self, tasks: set[Task], why: str) -> None:
        for task in tasks:
            if not task.done() and task not in self._ended:
                self._ended[task] = why
                task.cancel()

    def _forget(self, task: Task) -> int:
        """Takes back our cancellation; returns how many other cancellations remain."""
        del self._ended[task]
        return task.uncancel()
