"""The figures of tenants, whose number and names callers may choose."""

from __future__ import annotations

import contextlib

from forebay.errors import HandlerFailed
from forebay_backends.metrics.instruments import Source
from forebay_backends.metrics.registry import Metrics
from forebay_gateway.metrics.call_meter import CallMeter
from forebay_gateway.metrics.method_meter import MethodMeter
from forebay_gateway.metrics.tenant_meters import TenantMeters


def series(metrics: Metrics) -> int:
    return sum(len(family.samples) for family in metrics.registry.collect())


def test_ten_thousand_unknown_tenants_and_reasons_add_one_series_each() -> None:
    metrics = Metrics({Source.GATEWAY})
    tenants, method = TenantMeters(metrics, {"acme"}), MethodMeter(metrics, "p.S.M")

    def call_ends(tenant: str, reason: str) -> None:
        meter = CallMeter(method, tenant_ended=tenants.ended(tenant))
        error = HandlerFailed("failed")
        error.reason = reason
        with contextlib.suppress(HandlerFailed), meter:
            meter.accepted()
            raise error

    call_ends("acme", "OK")
    call_ends("somebody", "OK")
    call_ends("acme", "some reason")
    call_ends("somebody", "some reason")
    before = series(metrics)
    for number in range(10_000):
        call_ends(f"tenant-{number}", "OK")
        call_ends("acme", f"reason-{number}")
        call_ends(f"tenant-{number}", f"reason-{number}")
    assert series(metrics) == before
