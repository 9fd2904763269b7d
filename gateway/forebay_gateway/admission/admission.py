"""Whether this gateway has room for a call, and for its messages. Pure.

It has two limits, each shared between callers (`fair_share.py`): calls in flight, which
count from their arrival, before any request; and bytes held, which are

- a flat `CALL_BYTES` for each call in flight;
- the first request message of each call, until the call ends;
- of a request stream, the messages on their way to the ledger;
- items that wait here for a slow caller;
- for each message that gRPC is receiving, the largest message (`read_room.py`).

Each message counts once, with its size after decompression. What gRPC buffers of a message that
nobody reads does not count: HTTP/2 bounds it by each stream's window. A request message that
does not fit ends its call. An
item that does not fit stays in the ledger until there is room; one item per call is always
let through, so that each call makes progress.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from forebay.errors import Draining, QueueFull
from forebay_gateway.admission.fair_share import FairShare
from forebay_gateway.admission.retry_after import CompletionRate, retry_after_s

RETRY_AFTER_S = 1.0
"""The retry delay while this gateway shuts down: another one takes calls at once, or soon."""
CALL_BYTES = 32 << 10
"""About the memory of a waiting call without its messages, including gRPC's; measured."""


class Permit:
    """A call's share of the limits; a context manager that releases it."""

    __slots__ = ("_admission", "_arrived", "_bytes", "_released", "caller")

    def __init__(self, admission: Admission, caller: str) -> None:
        self.caller = caller
        self._admission = admission
        self._bytes = 0
        self._arrived = False
        self._released = False

    def arrived(self) -> None:
        """Counts the call as accepted: its first request came. Raises Draining."""
        self._admission.refuse_while_draining()
        self._arrived = True
        self._admission.accepted += 1

    def take(self, size: int) -> None:
        """Counts a request message; raises QueueFull if it does not fit."""
        if not self.has_room(size):
            raise self._admission.full_of_bytes(self.caller, size)
        self.hold(size)

    def has_room(self, size: int) -> bool:
        return self._admission.bytes.fits(self.caller, size)

    def hold(self, size: int) -> None:
        """Adds bytes, if negative subtracts them; does nothing after the release."""
        if not self._released:
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
        if self._released:
            return
        self.hold(-self._bytes)
        self._released = True
        self._admission.release(self.caller, arrived=self._arrived)


class Admission:
    """The limits of this gateway, and how much of them is in use."""

    def __init__(
        self, max_calls: int, max_held_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.calls = FairShare(max_calls)
        self.bytes = FairShare(max_held_bytes)
        self.accepted = 0
        """Calls in flight whose first request has come: a shutdown waits for these."""
        self._completions = CompletionRate(clock)
        self._draining = False

    def admit(self, caller: str) -> Permit:
        """A permit for a call that has arrived; raises QueueFull, or Draining."""
        self.refuse_while_draining()
        if not self.calls.fits(caller, 1):
            raise QueueFull(
                f"the gateway has {self.calls.held} calls in flight, "
                f"{self.calls.held_by(caller)} of this caller, "
                f"of at most {self.calls.limit} in all",
                retry_after_s=self._when_there_is_room(self.calls, caller, 1),
                quota="calls in flight",
            )
        if not self.bytes.fits(caller, CALL_BYTES):
            raise self.full_of_bytes(caller, CALL_BYTES)
        permit = Permit(self, caller)
        self.calls.add(caller, 1)
        permit.hold(CALL_BYTES)
        return permit

    def release(self, caller: str, *, arrived: bool) -> None:
        self.calls.add(caller, -1)
        self.accepted -= arrived
        self._completions.on_end()

    def full_of_bytes(self, caller: str, size: int) -> QueueFull:
        return QueueFull(
            f"the gateway holds {self.bytes.held} bytes of calls, {self.bytes.held_by(caller)} of "
            f"this caller, of at most {self.bytes.limit} in all; {size} more do not fit",
            retry_after_s=self._when_there_is_room(self.bytes, caller, size),
            quota="bytes held",
        )

    def refuse_while_draining(self) -> None:
        if self._draining:
            raise Draining("the gateway is shutting down", retry_after_s=RETRY_AFTER_S)

    def drain(self) -> None:
        """Refuses all further calls, and calls in flight whose first request comes later."""
        self._draining = True

    def _when_there_is_room(self, shares: FairShare, caller: str, amount: int) -> float:
        """All calls in flight end within `in flight / rate` (Little's law), half in half of it."""
        rate = self._completions.per_s()
        turnover_s = self.calls.held / rate if rate else None
        return retry_after_s(turnover_s and shares.excess(caller, amount) * turnover_s)
