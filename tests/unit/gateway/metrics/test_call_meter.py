"""What is counted of one RPC on one call."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
import pytest

from forebay.errors import HandlerFailed, InternalFault, QueueFull
from forebay_backends.telemetry.call_labels import about_call
from forebay_gateway.metrics.call_meter import CallMeter
from forebay_gateway.metrics.gateway_metrics import GatewayMetrics

METHOD = "p.S.M"


class Counted:
    """A gateway's counts, by name and labels but the method's."""

    def __init__(self) -> None:
        self.metrics = GatewayMetrics([METHOD])

    def meter(self, remaining_s: float | None = None) -> CallMeter:
        return CallMeter(self.metrics.method(METHOD), lambda: remaining_s)

    def __call__(self, name: str, **labels: str) -> float | None:
        value = self.metrics.registry.get_sample_value(name, {"method": METHOD, **labels})
        return value or None


def fails(meter: CallMeter, error: BaseException, *, accepted: bool = True) -> None:
    """The RPC ends with the error, before or after the gateway has taken on the call."""
    with contextlib.suppress(type(error)), meter:
        if accepted:
            meter.accepted()
        raise error


@pytest.fixture
def counted() -> Counted:
    return Counted()


def test_a_call_that_ends_well(counted: Counted) -> None:
    with counted.meter() as meter:
        meter.accepted()
        assert counted("forebay_calls", state="IN_FLIGHT") == 1
        meter.item(10, transient=True)
        meter.item(20)
        meter.item(30)
        meter.ran(0.5, 2.0)
    assert counted("forebay_calls", state="IN_FLIGHT") is None
    assert counted("forebay_calls_accepted_total") == 1
    assert counted("forebay_calls_ended_total", reason="OK") == 1
    assert counted("forebay_first_item_seconds_count") == 1
    assert counted("forebay_items_total", kind="lasting") == 2
    assert counted("forebay_item_bytes_total", kind="lasting") == 50
    assert counted("forebay_item_bytes_total", kind="transient") == 10
    assert counted("forebay_queue_wait_seconds_sum") == 0.5
    assert counted("forebay_run_seconds_sum") == 2.0


def test_a_callers_own_trace_context_is_no_exemplar(counted: Counted) -> None:
    """Without traces, the labels have what the caller sent, whatever that is."""
    with about_call("c", traceparent=f"00-{'<' * 32}-{'0' * 16}-01"), counted.meter() as meter:
        meter.accepted()
        meter.item(20)
        meter.ran(0.5, 2.0)
    families = counted.metrics.registry.collect()
    assert not any(sample.exemplar for family in families for sample in family.samples)


def test_an_error_before_the_acceptance_is_a_refusal(counted: Counted) -> None:
    fails(counted.meter(), QueueFull("full", retry_after_s=1.0, quota="q"), accepted=False)
    assert counted("forebay_refused_total", reason="QUEUE_FULL") == 1
    assert counted("forebay_calls_accepted_total") is None
    assert counted("forebay_calls", state="IN_FLIGHT") is None


def test_an_error_after_it_ends_the_call(counted: Counted) -> None:
    aborted = grpc.aio.AbortError()
    aborted.__cause__ = HandlerFailed("failed")
    fails(counted.meter(), aborted)
    assert counted("forebay_calls_ended_total", reason="HANDLER_FAILED") == 1
    assert counted("forebay_refused_total", reason="HANDLER_FAILED") is None


@pytest.mark.parametrize(
    ("remaining_s", "reason"),
    [
        (None, "DISCONNECTED"),
        (3.0, "DISCONNECTED"),
        (0.0, "DEADLINE_EXCEEDED"),
        (0.01, "DEADLINE_EXCEEDED"),
    ],
)
def test_a_deadline_is_told_from_a_disconnect(
    counted: Counted, remaining_s: float | None, reason: str
) -> None:
    fails(counted.meter(remaining_s), asyncio.CancelledError())
    assert counted("forebay_calls_ended_total", reason=reason) == 1


def test_an_rpc_that_attaches_accepts_and_refuses_nothing(counted: Counted) -> None:
    meter = counted.meter()
    meter.attached()
    meter.item(5)
    meter.ran(1.0, 1.0)
    fails(meter, HandlerFailed("failed"), accepted=False)
    assert counted("forebay_items_total", kind="lasting") == 1
    assert counted("forebay_calls_accepted_total") is None
    assert counted("forebay_refused_total", reason="HANDLER_FAILED") is None
    assert counted("forebay_run_seconds_count") is None


def test_a_bug_is_counted_as_the_gateways(counted: Counted) -> None:
    fails(counted.meter(), KeyError())
    assert counted("forebay_calls_ended_total", reason=InternalFault.reason) == 1


def test_ten_thousand_reasons_of_handlers_add_one_series(counted: Counted) -> None:
    for number in range(10_000):
        error = HandlerFailed("failed")
        error.reason = f"MY_REASON_{number}"
        fails(counted.meter(), error)
    assert counted("forebay_calls_ended_total", reason="other") == 10_000
    reasons = {
        sample.labels["reason"]
        for family in counted.metrics.registry.collect()
        if family.name == "forebay_calls_ended"
        for sample in family.samples
    }
    assert reasons == {"OK", "other"}


def test_ten_thousand_ids_add_no_series(counted: Counted) -> None:
    def series() -> int:
        return sum(len(family.samples) for family in counted.metrics.registry.collect())

    def makes_a_call(call_id: str) -> None:
        with about_call(call_id), counted.meter() as meter:
            meter.accepted()
            meter.item(1)
            meter.item(1, transient=True)
            meter.ran(0.1, 0.1)

    makes_a_call("first")
    before = series()
    for number in range(10_000):
        makes_a_call(f"call-{number}")
    assert series() == before
    assert counted("forebay_calls_ended_total", reason="OK") == 10_001


def test_a_tenants_calls_count_under_its_name_if_the_settings_have_it() -> None:
    metrics = GatewayMetrics([METHOD], tenants=["acme"])
    for tenant in ("acme", "acme", "umbrella", "initech", ""):
        with CallMeter(metrics.method(METHOD), tenant_ended=metrics.tenants.ended(tenant)) as meter:
            meter.accepted()
    refused = CallMeter(metrics.method(METHOD), tenant_ended=metrics.tenants.ended("acme"))
    fails(refused, QueueFull("full"), accepted=False)
    own_reason = CallMeter(metrics.method(METHOD), tenant_ended=metrics.tenants.ended("acme"))
    error = HandlerFailed("failed")
    error.reason = "OUT_OF_TEA"
    fails(own_reason, error)
    assert tenants_ended(metrics) == {
        ("acme", "OK"): 2,
        ("other", "OK"): 2,
        ("acme", "other"): 1,
    }


def test_without_tenants_there_is_no_metric_of_them() -> None:
    metrics = GatewayMetrics([METHOD], tenants=["acme"])
    with CallMeter(metrics.method(METHOD), tenant_ended=metrics.tenants.ended("")) as meter:
        meter.accepted()
    assert tenants_ended(metrics) == {}


def tenants_ended(metrics: GatewayMetrics) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["tenant"], sample.labels["reason"]): sample.value
        for family in metrics.registry.collect()
        if family.name == "forebay_tenant_ended"
        for sample in family.samples
    }


async def test_histograms_that_are_off_observe_nothing() -> None:
    metrics = GatewayMetrics([METHOD], is_on=False)
    meter = CallMeter(metrics.method(METHOD))
    meter.accepted()
    meter.ran(1.0, 1.0)
    text, _ = await metrics.scrape("")
    assert b"forebay_run_seconds" not in text


def test_calls_that_may_share_a_run_are_counted_by_kind(counted: Counted) -> None:
    for kind in ("new", "running", "running", "finished"):
        with counted.meter() as meter:
            meter.cached(kind)
    counts = {
        kind: counted("forebay_cache_calls_total", kind=kind)
        for kind in ("new", "running", "finished")
    }
    assert counts == {"new": 1, "running": 2, "finished": 1}
