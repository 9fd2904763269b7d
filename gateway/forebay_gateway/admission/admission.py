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
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol

from forebay.errors import Draining, QueueFull
from forebay_gateway.admission.caller_identity import is_tenant
from forebay_gateway.admission.fair_share import FairShare
from forebay_gateway.admission.retry_after import CompletionRate, retry_after_s

RETRY_AFTER_S = 1.0
"""The retry delay while this gateway shuts down: another one takes calls at once, or soon."""
CALL_BYTES = 32 << 10
"""About the memory of a waiting call without its messages, including gRPC's; measured."""


Wait = Awaitable[None] | None
"""A wait of a call for its turn; None if there is none: a coroutine for each step costs CPU."""


class TenantAccount(Protocol):
    """What a call of a tenant uses of the tenant's quotas; see `quotas/`."""

    @property
    def name(self) -> str: ...

    @property
    def max_priority(self) -> int:
        """The highest priority that the tenant's calls may have."""

    @property
    def max_delayed(self) -> int | None:
        """How many delayed calls the tenant may have; None: no limit of its own."""

    @property
    def unchecked(self) -> int:
        """Bytes that came in when the tenant's share was used up."""

    def take_bytes(self, size: int) -> None:
        """Counts bytes that came in; `check_bytes` must follow if some are `unchecked`."""

    def add_bytes(self, size: int) -> None:
        """Counts bytes without a check, if negative subtracts them."""

    def fits_bytes(self, size: int) -> bool:
        """Whether so many bytes more are within the tenant's share."""

    async def check_bytes(self) -> None:
        """Waits for room for the unchecked bytes; raises QuotaExceeded."""

    def count_new_call(self) -> Wait:
        """Counts against the calls of a second; raises QuotaExceeded."""

    def wait_begins(self) -> Wait:
        """Counts a call that waits for a worker, until `wait_ends`; raises QuotaExceeded."""

    def wait_ends(self) -> None:
        """The call does not wait any more; must be called once."""


class Permit:
    """A call's share of the limits; a context manager that releases it.

    `tenant` counts further bytes, too; it is None where authentication is off. `held` is how many
    bytes the call holds.
    """

    __slots__ = ("_admission", "_arrived", "_released", "caller", "held", "tenant")

    def __init__(self, admission: Admission, caller: str, held: int) -> None:
        self.caller = caller
        self.tenant: TenantAccount | None = None
        self._admission = admission
        self.held = held
        self._arrived = False
        self._released = False

    def arrived(self) -> None:
        """Counts the call as accepted: its first request came. Raises Draining."""
        self._admission.refuse_while_draining()
        self._arrived = True
        self._admission.accepted += 1

    def take(self, size: int) -> None:
        """Counts a request message; raises QueueFull if it does not fit.

        The tenant's quota is checked later, by `TenantAccount.check_bytes`.
        """
        if self._released:
            return
        if not self._admission.bytes.take(self.caller, size):
            raise self._admission.full_of_bytes(self.caller, size)
        self.held += size
        if self.tenant is not None:
            self.tenant.take_bytes(size)

    def has_room(self, size: int) -> bool:
        if self.tenant is not None and not self.tenant.fits_bytes(size):
            return False
        return self._admission.bytes.fits(self.caller, size)

    def hold(self, size: int) -> None:
        """Adds bytes, if negative subtracts them; does nothing after the release."""
        if self.tenant is not None:
            self.tenant.add_bytes(size)
        self._hold(size)

    def _hold(self, size: int) -> None:
        if not self._released:
            self.held += size
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
        self._hold(-self.held)
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
        if not self.calls.take(caller, 1):
            raise QueueFull(
                f"the gateway has {_in_use(self.calls, caller, 'calls in flight')}",
                retry_after_s=self._when_there_is_room(self.calls, caller, 1),
                quota="calls in flight",
            )
        if not self.bytes.take(caller, CALL_BYTES):
            self.calls.add(caller, -1)
            raise self.full_of_bytes(caller, CALL_BYTES)
        return Permit(self, caller, CALL_BYTES)

    def release(self, caller: str, *, arrived: bool) -> None:
        self.calls.add(caller, -1)
        self.accepted -= arrived
        self._completions.on_end()

    def full_of_bytes(self, caller: str, size: int) -> QueueFull:
        return QueueFull(
            f"the gateway holds {_in_use(self.bytes, caller, 'bytes of calls')}; "
            f"{size} more do not fit",
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


def _in_use(shares: FairShare, caller: str, unit: str) -> str:
    own = shares.held_by(caller)
    if is_tenant(caller):
        return f"{own} {unit} of this tenant, and too little room for more"
    return f"{shares.held} {unit}, {own} of this caller, of at most {shares.limit} in all"
