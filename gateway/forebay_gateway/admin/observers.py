"""Who waits at this gateway to hear of a call without being its watcher."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from forebay_backends.aio.auto_reset_event import AutoResetEvent
from forebay_backends.ledger.frames import CallEvent
from forebay_backends.ledger.keys import CallKey


class Observer(AutoResetEvent):
    """A bell that rings when a call has news of the kinds that its owner heeds."""

    def __init__(self, kinds: tuple[type[CallEvent], ...]) -> None:
        super().__init__()
        self._kinds = kinds

    def hear(self, event: CallEvent) -> None:
        """Rings, if this is heeded."""
        if isinstance(event, self._kinds):
            self.set()


class Observers:
    """All of a gateway. A gateway hears of a call for a lease after `observe`."""

    def __init__(self) -> None:
        self._observers: dict[str, list[Observer]] = {}
        self.is_cut = False
        """Whether the gateway shuts down, so that nobody shall wait any more."""

    @contextlib.contextmanager
    def open(self, call: CallKey, *kinds: type[CallEvent]) -> Iterator[Observer]:
        """One who hears of the call until the block is left."""
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
        """Takes what the gateway's channel says."""
        for observer in self._observers.get(key, ()):
            observer.hear(event)

    def cut(self) -> None:
        """Wakes everybody: the gateway shuts down."""
        self.is_cut = True
        for observers in self._observers.values():
            for observer in observers:
                observer.set()
