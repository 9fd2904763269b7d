"""The figures of tenants, whose number and names callers may choose."""

from __future__ import annotations

from forebay_backends.metrics.instruments import Source
from forebay_backends.metrics.registry import Metrics
from forebay_gateway.metrics.method_meter import MethodMeter
from forebay_gateway.metrics.tenant_meters import TenantMeters


def series(metrics: Metrics) -> int:
    return sum(len(family.samples) for family in metrics.registry.collect())


def test_ten_thousand_unknown_tenants_and_reasons_add_one_series_each() -> None:
    metrics = Metrics({Source.GATEWAY})
    tenants, method = TenantMeters(metrics, {"acme"}), MethodMeter(metrics, "p.S.M")
    tenants.ended("acme", "OK")
    tenants.ended("somebody", "OK")
    method.ended("some reason")
    before = series(metrics)
    for number in range(10_000):
        tenants.ended(f"tenant-{number}", "OK")
        method.ended(f"reason-{number}")
    assert series(metrics) == before
