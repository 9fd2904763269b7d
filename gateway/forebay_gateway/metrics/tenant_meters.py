"""Counts the ends of tenants' calls, in plain numbers as `method_meter.py` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from forebay_backends.metrics.instruments import OTHER
from forebay_backends.metrics.registry import Figures, Metrics


class TenantMeters:
    """One per gateway process. Tenants in the settings have a label; the rest are `other`."""

    def __init__(self, metrics: Metrics, named: Collection[str]) -> None:
        self._ended: dict[str, Counter[str]] = {label: Counter() for label in (*named, OTHER)}
        self._others = self._ended[OTHER]
        metrics.read_figures.append(self._figures)

    def ended(self, tenant: str) -> Counter[str] | None:
        """Counts the ends of the tenant's calls, by the reason's label; None without a tenant."""
        return self._ended.get(tenant, self._others) if tenant else None

    def _figures(self) -> Figures:
        ended: dict[tuple[str, ...], float] = {
            (label, reason): count
            for label, by_reason in self._ended.items()
            for reason, count in by_reason.items()
        }
        return {"forebay_tenant_ended_total": ended} if ended else {}
