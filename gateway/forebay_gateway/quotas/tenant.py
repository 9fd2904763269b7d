"""A tenant at this gateway: its quotas, and their exchange with the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from math import inf

from forebay.routes import HIGHEST_PRIORITY
from forebay_backends.settings.tenant_settings import TenantSettings, limits_of
from forebay_gateway.admission.retry_after import CompletionRate
from forebay_gateway.quotas.tenant_use import Limit, TenantUse


class Tenant:
    """The use of one tenant's quotas, and when and how the ledger was last asked about them."""

    __slots__ = (
        "asked_at",
        "completions",
        "full_until",
        "held_bytes",
        "in_flight",
        "is_returning",
        "lock",
        "low_at",
        "max_priority",
        "name",
        "queued",
        "use",
    )

    def __init__(self, name: str, settings: TenantSettings) -> None:
        self.name = name
        self.use = TenantUse(settings)
        # Every call needs them; each lookup by an Enum's attribute would take 0.1 µs.
        self.in_flight, self.queued, self.held_bytes = self.use.shares.values()
        given = settings.max_priority
        self.max_priority = HIGHEST_PRIORITY if given is None else given
        """The highest priority that the tenant's calls may have."""
        self.lock = asyncio.Lock()
        self.completions = CompletionRate()
        self.asked_at = -inf
        """When the last exchange began that has ended."""
        self.full_until: dict[Limit, float] = {}
        self.is_returning = False
        self.low_at = -inf


class Tenants(dict[str, Tenant]):
    """Tenants by name; each is made when it is first looked up."""

    def __init__(self, settings: Mapping[str, TenantSettings], processes: int) -> None:
        super().__init__()
        self._settings = settings
        self._processes = processes

    def __missing__(self, name: str) -> Tenant:
        tenant = self[name] = Tenant(name, limits_of(name, self._settings))
        tenant.use.gateways = self._processes
        return tenant
