"""The use that an RPC makes of its tenant's quotas.

Most RPCs find room in the gateway's shares, and wait for nothing: their steps are no coroutines.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from forebay_gateway.admission.admission import Permit, Wait
from forebay_gateway.quotas.tenant import Tenant
from forebay_gateway.quotas.tenant_use import Limit


class Quotas(Protocol):
    """Serves the RPCs for which a share may not suffice; see `tenant_quotas.py`."""

    def take(self, tenant: Tenant, limit: Limit, amount: int) -> Wait:
        """Uses the amount; raises QuotaExceeded."""

    async def take_token(self, tenant: Tenant) -> None:
        """Counts a new call; raises QuotaExceeded."""

    def on_free(self, tenant: Tenant) -> None:
        """The tenant uses less than before."""


class TenantCall:
    """Counts the quotas that one RPC of a tenant uses, until the block is left."""

    __slots__ = (
        "_is_counted",
        "_permit",
        "_quotas",
        "_tenant",
        "_unchecked",
        "_used",
        "max_priority",
        "name",
    )

    def __init__(self, quotas: Quotas, tenant: Tenant, permit: Permit) -> None:
        self.name = tenant.name
        self.max_priority = tenant.max_priority
        self._quotas = quotas
        self._tenant = tenant
        self._permit = permit
        self._is_counted = False
        self._used = 0
        """Bytes that count against the quota."""
        self._unchecked = 0
        """Bytes that came in when the share was used up."""

    @property
    def max_delayed(self) -> int | None:
        """How many delayed calls the tenant may have; None: no limit of its own."""
        return self._tenant.use.settings.delayed

    def __enter__(self) -> Wait:
        """Counts the RPC as in flight, and what its permit holds; the wait raises QuotaExceeded."""
        self._permit.tenant = self
        self.take_bytes(self._permit.held)
        if not self._tenant.in_flight.take_easily(1):
            wait = self._quotas.take(self._tenant, Limit.IN_FLIGHT, 1)
            if wait is not None:
                return self._begin_after(wait)
        self._is_counted = True
        return self.check_bytes()

    async def _begin_after(self, wait: Awaitable[None]) -> None:
        await wait
        self._is_counted = True
        wait_for_bytes = self.check_bytes()
        if wait_for_bytes is not None:
            await wait_for_bytes

    def __exit__(self, *_: object) -> None:
        tenant, self._permit.tenant = self._tenant, None
        tenant.held_bytes.waiting -= self._unchecked
        tenant.held_bytes.used -= self._used
        if self._is_counted:
            tenant.in_flight.used -= 1
            if tenant.use.has_limits:
                tenant.completions.on_end()
        self._quotas.on_free(tenant)

    def count_new_call(self) -> Wait:
        """Counts against the calls of a second; raises QuotaExceeded."""
        return None if self._tenant.use.take_token() else self._quotas.take_token(self._tenant)

    def wait_begins(self) -> Wait:
        """Counts a call that waits for a worker, until `wait_ends`; raises QuotaExceeded."""
        if self._tenant.queued.take_easily(1):
            return None
        return self._quotas.take(self._tenant, Limit.QUEUED, 1)

    def wait_ends(self) -> None:
        """The call does not wait any more; must be called once."""
        self._tenant.queued.used -= 1
        self._quotas.on_free(self._tenant)

    def take_bytes(self, size: int) -> None:
        """Counts bytes that came in; `check_bytes` must follow."""
        if self._tenant.held_bytes.take_easily(size):
            self._used += size
        else:
            self._unchecked += size
            self._tenant.held_bytes.waiting += size

    def add_bytes(self, size: int) -> None:
        """Counts bytes without a check, if negative subtracts them."""
        if size < 0:
            unchecked = min(-size, self._unchecked)
            self._unchecked -= unchecked
            self._tenant.held_bytes.waiting -= unchecked
            size += unchecked
        if size:
            self._used += size
            self._tenant.held_bytes.used += size
            self._quotas.on_free(self._tenant)

    def fits_bytes(self, size: int) -> bool:
        """Whether so many bytes more are within the tenant's share."""
        return self._tenant.held_bytes.fits(size)

    def check_bytes(self) -> Wait:
        """Raises QuotaExceeded if the bytes that came in are over the tenant's quota."""
        size = self._unchecked
        if not size:
            return None
        self._unchecked = 0
        self._tenant.held_bytes.waiting -= size
        wait = self._quotas.take(self._tenant, Limit.HELD_BYTES, size)
        if wait is not None:
            return self._use_after(wait, size)
        self._used += size
        return None

    async def _use_after(self, wait: Awaitable[None], size: int) -> None:
        await wait
        self._used += size
