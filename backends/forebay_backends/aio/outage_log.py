"""Logs an outage a few times instead of at every failed attempt."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from math import inf

REPEAT_S = 30.0
ONCE_IN_S = 60.0


def error_text(error: BaseException) -> str:
    """The error's `repr`; for redis-py's classes, whose `repr` has no text, class and text."""
    name = type(error).__name__
    return repr(error) if repr(error).startswith(name) else f"{name}: {error}"


class OutageLog:
    """Logs when failures begin, every 30 s while they last, and the success that ends them.

    For example, with "the broker does not answer" and "the broker answers again":

        WARNING the broker does not answer: ConnectionError: refused
        WARNING the broker does not answer, for 30 s now: ConnectionError: refused
        INFO the broker answers again, after 41 s

    `clock` returns seconds. Threads may share an object. An infinite `repeat_s` logs the outage
    once, for loops in a process where another object reports the same outage.
    """

    def __init__(
        self,
        log: logging.Logger,
        begins: str,
        ends: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        repeat_s: float = REPEAT_S,
    ) -> None:
        self._repeat_s = repeat_s
        self._log = log
        self._begins = begins
        self._ends = ends
        self._clock = clock
        self._began: float | None = None
        self._repeat_at = 0.0

    def failed(self, error: Exception) -> None:
        now = self._clock()
        # `asyncio.timeout` raises TimeoutError from CancelledError, which says nothing about the
        # outage.
        cause = error_text(error if isinstance(error, TimeoutError) else error.__cause__ or error)
        if self._began is None:
            self._began, self._repeat_at = now, now + self._repeat_s
            self._log.warning("%s: %s", self._begins, cause)
        elif now >= self._repeat_at:
            self._repeat_at = now + self._repeat_s
            self._log.warning("%s, for %.0f s now: %s", self._begins, now - self._began, cause)

    def succeeded(self) -> None:
        began, self._began = self._began, None
        if began is not None:
            self._log.info("%s, after %.0f s", self._ends, self._clock() - began)


class OnceInAWhile:
    """Tells whether to log something again: each `key` once a minute. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at: dict[Hashable, float] = {}

    def passes(self, key: Hashable) -> bool:
        now = self._clock()
        if now - self._at.get(key, -inf) < ONCE_IN_S:
            return False
        self._at = {old: at for old, at in self._at.items() if now - at < ONCE_IN_S}
        self._at[key] = now
        return True


class RepeatFilter(logging.Filter):
    """Passes each warning or error of a logger once in 30 s; lower levels pass unchanged.

    This is for libraries that log every failed attempt. Messages are the same if the first 80
    characters of their format strings are. `clock` returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._next_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now, message = self._clock(), str(record.msg)[:80]
        if record.levelno < logging.WARNING:
            return True
        if now < self._next_at.get(message, now):
            return False
        self._next_at = {old: at for old, at in self._next_at.items() if at > now}
        self._next_at[message] = now + REPEAT_S
        return True
