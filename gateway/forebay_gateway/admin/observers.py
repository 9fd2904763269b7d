"""Who waits at this gateway to hear of a call without being its watcher."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from forebay_backends.aio.auto_reset_event import Bell
from forebay_backends.ledger.frames import CallEvent
from forebay_backends.ledger.keys import CallKey


class Onlooker(Bell):
    """A bell that rings when a call has news of the kinds that its owner heeds."""

    def __init__(self, kinds: tuple[type[CallEvent], ...]) -> None:
        super().__init__()
        self._kinds = kinds

    def hear(self, event: CallEvent) -> None:
        """Rings, if this is heeded."""
        if isinstance(event, self._kinds):
            self.ring()


class Onlookers:
    """All of a gateway. A gateway hears of a call for a lease after `onlook`."""

    def __init__(self) -> None:
        self._onlookers: dict[str, list[Onlooker]] = {}
        self.is_cut = False
        """Whether the gateway shuts down, so that nobody shall wait any more."""

    @contextlib.contextmanager
    def open(self, call: CallKey, *kinds: type[CallEvent]) -> Iterator[Onlooker]:
        """One who hears of the call until the block is left."""
        onlooker = Onlooker(kinds)
        onlookers = self._onlookers.setdefault(str(call), [])
        onlookers.append(onlooker)
        try:
            yield onlooker
        finally:
            onlookers.remove(onlooker)
            if not onlookers:
                del self._onlookers[str(call)]

    def on_event(self, key: str, event: CallEvent) -> None:
        """Takes what the gateway's channel says."""
        for onlooker in self._onlookers.get(key, ()):
            onlooker.hear(event)

    def cut(self) -> None:
        """Wakes everybody: the gateway shuts down."""
        self.is_cut = True
        for onlookers in self._onlookers.values():
            for onlooker in onlookers:
                onlooker.ring()
