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

    Each RPC is an entry in a dictionary, all of which are looked at when an identity ends. That is
    rare; `asyncio.timeout` for each RPC would cost 5 µs.
    """

    def __init__(self) -> None:
        self._open: dict[Task, Principal] = {}
        self._timed: set[float] = set()
        """The seconds that have a timer. Most identities end at a whole second."""
        self._ended: dict[Task, str] = {}

    async def serve(self, handler: Handler, context: Context) -> bytes | None:
        """Serves the RPC; raises IdentityEnded within a second of the end of the caller's identity.

        The handler is then cancelled, as if the caller had disconnected: the call goes on by its
        policy, and the caller can attach to it with a fresh token.
        """
        principal, task = context.principal, context.task
        if task is None:
            return await handler.serve(context)
        expires_at = principal.expires_at
        if expires_at is not None and expires_at not in self._timed:
            self._set_timer(expires_at)
        self._open[task] = principal
        try:
            return await handler.serve(context)
        except asyncio.CancelledError as error:
            why = self._ended.get(task)
            if why is None:
                raise
            others = self._forget(task) > 0  # the caller has disconnected, too
            if others or context.code is not None:  # or the status is on its way
                raise
            raise IdentityEnded(why) from error
        finally:
            del self._open[task]
            if task in self._ended:
                self._forget(task)

    def end_revoked(self, is_in_force: Callable[[Principal], bool]) -> None:
        """Ends the RPCs of callers whose proof is not in force any more."""
        revoked = {one for one in set(self._open.values()) if not is_in_force(one)}
        self._end(lambda principal: principal in revoked, _REVOKED)

    def _set_timer(self, expires_at: float) -> None:
        """At the end of this second, the RPCs end whose callers expire in it."""
        second = ceil(expires_at)
        if second not in self._timed:
            self._timed.add(second)
            left_s = second - time.time()
            asyncio.get_running_loop().call_later(left_s, self._expire, second)

    def _expire(self, second: int) -> None:
        self._timed.discard(second)

        def has_expired(principal: Principal) -> bool:
            return principal.expires_at is not None and ceil(principal.expires_at) <= second

        self._end(has_expired, _EXPIRED)

    def _end(self, is_one: Callable[[Principal], bool], why: str) -> None:
        """Ends the RPCs of these callers."""
        for task, principal in self._open.items():
            if is_one(principal) and not task.done() and task not in self._ended:
                self._ended[task] = why
                task.cancel()

    def _forget(self, task: Task) -> int:
        """Takes back our cancellation; returns how many other cancellations remain."""
        del self._ended[task]
        return task.uncancel()
