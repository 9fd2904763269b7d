"""Observers: RPCs that wait for a call's events without watching it.

An observer does not take part in flow control, and its disconnect never cancels the call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from forebay_backends.aio.auto_reset_event import AutoResetEvent
from forebay_backends.ledger.frames import CallEvent
from forebay_backends.ledger.keys import CallKey


class Observer(AutoResetEvent):
    """Set when the call has an event of one of the given kinds."""

    def __init__(self, kinds: tuple[type[CallEvent], ...]) -> None:
        super().__init__()
        self._kinds = kinds

    def on_event(self, event: CallEvent) -> None:
        """Sets the observer if the event is of one of its kinds."""
        if isinstance(event, self._kinds):
            self.set()


class Observers:
    """All observers of a gateway.

    The ledger publishes a call's events to the gateway for one lease after each `observe`.
    """

    def __init__(self) -> None:
        self._observers: dict[str, list[Observer]] = {}
        self.is_draining = False
        """Whether the gateway is shutting down, so that observers must stop waiting."""

    @contextlib.contextmanager
    def open(self, call: CallKey, *kinds: type[CallEvent]) -> Iterator[Observer]:
        """An observer of the call, until the block is left."""
        observer = Observer(kinds)
        observers = self._observers.setdefault(str(call), [])
        observers.append(observer)
        try:
            yield observer
        finally:
            observers.remove(observer)
            if not observers:
                del self._observers[str(call)]

    def on_event(self, key: str, event: CallEvent) -> None:
        """Passes an event of the gateway's channel to the call's observers."""
        for observer in self._observers.get(key, ()):
            observer.on_event(event)

    def drain(self) -> None:
        """Wakes all observers: the gateway is shutting down."""
        self.is_draining = True
        for observers in self._observers.values():
            for observer in observers:
                observer.set()
