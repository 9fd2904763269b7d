"""Room for the request messages that gRPC is receiving. Pure.

gRPC holds a message from its first bytes on, and reports it only when it is complete. So a read
takes room for the largest message before it starts. Example: with `max_held_bytes` of 512 MiB and
messages of up to 6 MiB on the wire, 85 reads run at a time; the others wait.

With the native front, a read takes its room when its message begins to arrive; until then the
caller may send at most HTTP/2's window, 64 KiB. gRPC's own server does not report when a message
begins, so with that front a read takes its room at once.

A read that has waited for `IDLE_AFTER_S` gives its room back, since idle streams, or messages that
stop halfway, would otherwise use up all. `server/memory_guard.py` acts if many of these callers
then send at once.
"""

from __future__ import annotations

from forebay_gateway.admission.fair_share import FairShare, fits

IDLE_AFTER_S = 1.0


class ReadRoom:
    """The part of `held` that pending reads take; each takes `message_bytes`."""

    def __init__(self, held: FairShare, message_bytes: int) -> None:
        self.message_bytes = message_bytes
        self._held = held
        self._reading = 0
        self._by_caller: dict[str, int] = {}

    def fits(self, caller: str) -> bool:
        """Whether the caller may start a read."""
        return self._held.fits(caller, self.message_bytes)

    def is_full(self, caller: str) -> bool:
        """Whether a read would not fit even if all other reads ended without a message."""
        held = self._held.held - self._reading
        held_by_caller = self._held.held_by(caller) - self._by_caller.get(caller, 0)
        return not fits(held_by_caller, self.message_bytes, self._held.limit - held)

    def start(self, caller: str) -> None:
        self._add(caller, self.message_bytes)

    def end(self, caller: str) -> None:
        self._add(caller, -self.message_bytes)

    def _add(self, caller: str, size: int) -> None:
        self._held.add(caller, size)
        self._reading += size
        taken = self._by_caller.get(caller, 0) + size
        if taken:
            self._by_caller[caller] = taken
        else:
            self._by_caller.pop(caller, None)
