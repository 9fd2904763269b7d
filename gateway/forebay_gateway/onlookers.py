"""Who waits at this gateway to hear of a call without being its watcher."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from forebay_ledger.events import CallEvent
from forebay_ledger.keys import CallKey


class Bell:
    """Rings when a call has news of the kinds that its owner heeds."""

    def __init__(self, kinds: tuple[type[CallEvent], ...]) -> None:
        self._kinds = kinds
        self._news = asyncio.Event()

    def ring(self) -> None:
        """There is news."""
        self._news.set()

    def hear(self, event: CallEvent) -> None:
        """Rings, if this is heeded."""
        if isinstance(event, self._kinds):
            self.ring()

    async def rung(self, timeout_s: float) -> None:
        """Returns when there is news, or after so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        self._news.clear()


class Onlookers:
    """All bells of a gateway. A gateway hears of a call for a lease after `onlook`."""

    def __init__(self) -> None:
        self._bells: dict[str, list[Bell]] = {}
        self.is_cut = False
        """Whether the gateway shuts down, so that nobody shall wait any more."""

    @contextlib.contextmanager
    def open(self, call: CallKey, *kinds: type[CallEvent]) -> Iterator[Bell]:
        """A bell that rings of the call until the block is left."""
        bell = Bell(kinds)
        bells = self._bells.setdefault(str(call), [])
        bells.append(bell)
        try:
            yield bell
        finally:
            bells.remove(bell)
            if not bells:
                del self._bells[str(call)]

    def on_event(self, key: str, event: CallEvent) -> None:
        """Takes what the gateway's channel says."""
        for bell in self._bells.get(key, ()):
            bell.hear(event)

    def cut(self) -> None:
        """Wakes everybody: the gateway shuts down."""
        self.is_cut = True
        for bells in self._bells.values():
            for bell in bells:
                bell.ring()
