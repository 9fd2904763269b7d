"""What is counted of tenants: plain numbers, as in `method_meter.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from forebay_backends.metrics.instruments import OTHER
from forebay_backends.metrics.registry import Figures, Metrics
from forebay_gateway.metrics.method_meter import known_reason


class TenantMeters:
    """One per gateway. Only tenants that the settings name have a label; the rest are `other`."""

    def __init__(self, metrics: Metrics, named: Collection[str]) -> None:
        self._named = frozenset(named)
        self._ended: Counter[tuple[str, ...]] = Counter()
        metrics.read_figures.append(self._figures)

    def ended(self, tenant: str, reason: str) -> None:
        """A call of the tenant ended; nothing is counted of calls without a tenant."""
        if tenant:
            label = tenant if tenant in self._named else OTHER
            self._ended[label, known_reason(reason)] += 1

    def _figures(self) -> Figures:
        return {"forebay_tenant_ended_total": {**self._ended}} if self._ended else {}
