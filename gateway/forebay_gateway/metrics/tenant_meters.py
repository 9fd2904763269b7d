"""Counts the ends of tenants' calls, in plain numbers as `method_meter.py` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from forebay_backends.metrics.instruments import OTHER
from forebay_backends.metrics.registry import Figures, Metrics
from forebay_gateway.metrics.method_meter import known_reason


class TenantMeters:
    """One per gateway process. Tenants in the settings have a label; the rest are `other`."""

    def __init__(self, metrics: Metrics, named: Collection[str]) -> None:
        self._named = frozenset(named)
        self._ended: Counter[tuple[str, ...]] = Counter()
        metrics.read_figures.append(self._figures)

    def ended(self, tenant: str, reason: str) -> None:
        """Counts the end of a call, unless it has no tenant."""
        if tenant:
            label = tenant if tenant in self._named else OTHER
            self._ended[label, known_reason(reason)] += 1

    def _figures(self) -> Figures:
        return {"forebay_tenant_ended_total": {**self._ended}} if self._ended else {}
