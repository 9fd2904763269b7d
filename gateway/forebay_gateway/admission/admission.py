"""Whether this gateway has a place for a call, and for its messages. Pure.

Two limits hold, each shared between callers (see `shares.py`): calls in flight,
counted from the moment they arrive, a request or none; and bytes held, which are

- a flat `CALL_BYTES` for each call in flight;
- the first request message of each, from its arrival to the call's end;
- of a request stream, the messages that are on their way to the ledger;
- items that wait here for a slow caller.

Each message is counted once, at its size on the wire; what gRPC itself buffers
below us is bounded by HTTP/2's windows, a connection each, and isn't counted. A message
that doesn't fit ends its call; an item that doesn't is left to the ledger until there is
room, but one a call, without which nothing would go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from forebay.errors import Draining, QueueFull
from forebay_gateway.admission.fair_share import FairShare
from forebay_gateway.admission.retry_after import CompletionRate, retry_after_s

RETRY_AFTER_S = 1.0
"""When to come again where this gateway is going away: another is there at once, or soon."""
CALL_BYTES = 32 << 10
"""About what a waiting call costs without its messages, gRPC's part included; measured."""


class Permit:
    """A call's place, and the bytes that it holds; given back at the end of the block."""

    __slots__ = ("_admission", "_arrived", "_bytes", "_left", "caller")

    def __init__(self, admission: Admission, caller: str) -> None:
        self.caller = caller
        self._admission = admission
        self._bytes = 0
        self._arrived = False
        self._left = False

    def arrived(self, size: int) -> None:
        """The first request is here; raises Draining where it came too late, or QueueFull."""
        self._admission.refuse_while_draining()
        self._arrived = True
        self._admission.accepted += 1
        self.take(size)

    def take(self, size: int) -> None:
        """A message has come in; raises QueueFull where there is no room for it."""
        if not self.has_room(size):
            raise self._admission.full_of_bytes(self.caller, size)
        self.hold(size)

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more fit."""
        return self._admission.bytes.fits(self.caller, size)

    def hold(self, size: int) -> None:
        """Counts bytes, or counts them off where negative; none once the place was left."""
        if not self._left:
            self._bytes += size
            self._admission.bytes.add(self.caller, size)

    def __enter__(self) -> Permit:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._left:
            return
        self.hold(-self._bytes)
        self._left = True
        self._admission.leave(self.caller, arrived=self._arrived)


class Admission:
    """Counts what this gateway holds, and keeps it within limits, fairly."""

    def __init__(
        self, max_calls: int, max_held_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.calls = FairShare(max_calls)
        self.bytes = FairShare(max_held_bytes)
        self.accepted = 0
        """Calls in flight whose first request is here: what a shutdown waits for."""
        self._pace = CompletionRate(clock)
        self._draining = False

    def admit(self, caller: str) -> Permit:
        """A place for a call that has arrived; raises QueueFull, or Draining."""
        self.refuse_while_draining()
        if not self.calls.fits(caller, 1):
            raise QueueFull(
                f"the gateway has {self.calls.held} calls in flight, {self.calls.held_by(caller)} of "
                f"this caller, of at most {self.calls.limit} in all",
                retry_after_s=self._when_there_is_room(self.calls, caller, 1),
                quota="calls in flight",
            )
        if not self.bytes.fits(caller, CALL_BYTES):
            raise self.full_of_bytes(caller, CALL_BYTES)
        permit = Permit(self, caller)
        self.calls.add(caller, 1)
        permit.hold(CALL_BYTES)
        return permit

    def leave(self, caller: str, *, arrived: bool) -> None:
        """A place was given back."""
        self.calls.add(caller, -1)
        self.accepted -= arrived
        self._pace.ended()

    def full_of_bytes(self, caller: str, size: int) -> QueueFull:
        """The refusal of so many bytes."""
        return QueueFull(
            f"the gateway holds {self.bytes.held} bytes of calls, {self.bytes.held_by(caller)} of "
            f"this caller, of at most {self.bytes.limit} in all; {size} more do not fit",
            retry_after_s=self._when_there_is_room(self.bytes, caller, size),
            quota="bytes held",
        )

    def refuse_while_draining(self) -> None:
        """Raises Draining once there is no more coming in."""
        if self._draining:
            raise Draining("the gateway is shutting down", retry_after_s=RETRY_AFTER_S)

    def drain(self) -> None:
        """Lets no further call in."""
        self._draining = True

    def _when_there_is_room(self, shares: FairShare, caller: str, amount: int) -> float:
        """All calls in flight take `in flight / pace` to end (Little's law), a part that part."""
        pace = self._pace.per_s()
        turnover_s = self.calls.held / pace if pace else None
        return retry_after_s(turnover_s and shares.over(caller, amount) * turnover_s)
