"""The use that an RPC makes of its tenant's quotas.

Most RPCs find room in the gateway's shares, and wait for nothing: their steps are no coroutines.
"""

from __future__ import annotations

from typing import Protocol

from forebay_gateway.admission.admission import Permit, Wait
from forebay_gateway.quotas.tenant import Tenant
from forebay_gateway.quotas.tenant_use import Limit


class Quotas(Protocol):
    """Serves the RPCs for which a share may not suffice; see `tenant_quotas.py`."""

    async def take(self, tenant: Tenant, limit: Limit, amount: int) -> None:
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
        "_used",
        "max_priority",
        "name",
        "unchecked",
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
        self.unchecked = 0
        """Bytes that came in when the share was used up."""

    @property
    def max_delayed(self) -> int | None:
        """How many delayed calls the tenant may have; None: no limit of its own."""
        return self._tenant.use.settings.delayed

    def __enter__(self) -> Wait:
        """Counts the RPC as in flight, and what its permit holds; the wait raises QuotaExceeded."""
        self._permit.tenant = self
        self.take_bytes(self._permit.held)
        self._is_counted = self._tenant.in_flight.take_easily(1)
        return None if self._is_counted and not self.unchecked else self._take_rest()

    async def _take_rest(self) -> None:
        if not self._is_counted:
            await self._quotas.take(self._tenant, Limit.IN_FLIGHT, 1)
            self._is_counted = True
        if self.unchecked:
            await self.check_bytes()

    def __exit__(self, *_: object) -> None:
        tenant, self._permit.tenant = self._tenant, None
        tenant.held_bytes.waiting -= self.unchecked
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
        """Counts bytes that came in; `check_bytes` must follow if some are `unchecked`."""
        if self._tenant.held_bytes.take_easily(size):
            self._used += size
        else:
            self.unchecked += size
            self._tenant.held_bytes.waiting += size

    def add_bytes(self, size: int) -> None:
        """Counts bytes without a check, if negative subtracts them."""
        if size < 0:
            unchecked = min(-size, self.unchecked)
            self.unchecked -= unchecked
            self._tenant.held_bytes.waiting -= unchecked
            size += unchecked
        if size:
            self._used += size
            self._tenant.held_bytes.used += size
            self._quotas.on_free(self._tenant)

    def fits_bytes(self, size: int) -> bool:
        """Whether so many bytes more are within the tenant's share."""
        return self._tenant.held_bytes.fits(size)

    async def check_bytes(self) -> None:
        """Waits for room for the unchecked bytes; raises QuotaExceeded."""
        size, self.unchecked = self.unchecked, 0
        self._tenant.held_bytes.waiting -= size
        await self._quotas.take(self._tenant, Limit.HELD_BYTES, size)
        self._used += size
