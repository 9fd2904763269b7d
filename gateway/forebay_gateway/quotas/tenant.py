"""A tenant at this gateway: its quotas, and their exchange with the ledger."""

from __future__ import annotations

import asyncio
from math import inf

from forebay_backends.settings.tenant_settings import TenantSettings
from forebay_gateway.admission.retry_after import CompletionRate
from forebay_gateway.quotas.tenant_use import Limit, TenantUse


class Tenant:
    """The use of one tenant's quotas, and when and how the ledger was last asked about them."""

    __slots__ = (
        "asked_at",
        "completions",
        "full_until",
        "is_returning",
        "lock",
        "low_at",
        "name",
        "use",
    )

    def __init__(self, name: str, settings: TenantSettings) -> None:
        self.name = name
        self.use = TenantUse(settings)
        self.lock = asyncio.Lock()
        self.completions = CompletionRate()
        self.asked_at = -inf
        """When the last exchange began that has ended."""
        self.full_until: dict[Limit, float] = {}
        self.is_returning = False
        self.low_at = -inf
