"""The runs of calls in a process, by call and attempt. Pure."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from forebay_workers.handler.context import CallContext

AttemptName = tuple[str, int]
"""A call's key and an attempt number."""


class RunningCalls:
    """Which contexts belong to an attempt; threads may share an object.

    An ephemeral call may run twice at a time, with the same attempt number: its gateway sends it
    again if its worker seems lost, and the message may come to the same process.
    """

    def __init__(self) -> None:
        self._contexts: dict[AttemptName, tuple[CallContext, ...]] = {}
        self._lock = threading.Lock()

    def add(self, name: AttemptName, context: CallContext) -> None:
        """Adds a run that begins."""
        with self._lock:
            self._contexts[name] = (*self._contexts.get(name, ()), context)

    def remove(self, name: AttemptName, context: CallContext) -> None:
        """Removes a run that has ended."""
        with self._lock:
            others = tuple(one for one in self._contexts.pop(name) if one is not context)
            if others:
                self._contexts[name] = others

    def of(self, name: AttemptName) -> tuple[CallContext, ...]:
        """The runs of the attempt."""
        return self._contexts.get(name, ())

    def __iter__(self) -> Iterator[CallContext]:
        for contexts in tuple(self._contexts.values()):
            yield from contexts
