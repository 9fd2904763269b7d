"""Quotas of tenants, over two gateways."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from forebay.errors import InvalidRequest, QuotaExceeded
from forebay.rpc_errors import of_rpc_error
from tests.echo.running import echo_environment, echo_gateway, echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.harness import eventually, redis_server
from tests.tenancy.running import Tenant, Tenants, answer

pytestmark = pytest.mark.variant

ASLEEP = EchoRequest(act="sleep", seconds=60, count=1)
LIMITS: dict[str, dict[str, Any]] = {
    "calm": {"in_flight": 4},
    "fast": {"per_second": 5},
    "patient": {"queued": 3},
    "big": {"held_bytes": 300_000},
    "low": {"max_priority": 2},
    "later": {"delayed": 2},
    "any": {"in_flight": 50},
}
NAMES = ("calm", "fast", "patient", "big", "low", "later", "other")


@dataclass
class Site:
    """Two gateways with one ledger."""

    tenants: Tenants
    addresses: tuple[str, str]

    @contextlib.contextmanager
    def at_both(self, name: str) -> Iterator[tuple[Tenant, Tenant]]:
        """The tenant at each of the gateways."""
        one, other = (self.tenants.calling(name, address) for address in self.addresses)
        with one as here, other as there:
            yield here, there


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """With a worker of two slots."""
    tenants = Tenants(tmp_path_factory.mktemp("keys"), *NAMES)
    with redis_server() as url:
        env = echo_environment(FOREBAY_LEDGER_URL=url, **tenants.settings(**LIMITS))
        with echo_worker(env), echo_gateway(env) as (_, one), echo_gateway(env) as (_, other):
            yield Site(tenants, (one, other))


def refusal(method: str, call: Any) -> QuotaExceeded | None:
    """The error of a refused call; None if it was accepted."""
    if "forebay-attached" in dict(call.initial_metadata()):
        return None
    with pytest.raises(grpc.RpcError) as raised:
        answer(method, call)
    error = of_rpc_error(raised.value)
    assert isinstance(error, QuotaExceeded), error
    return error


def refusals(calls: list[Any], method: str = "ServerStream") -> list[QuotaExceeded]:
    return [error for error in (refusal(method, call) for call in calls) if error is not None]


def cancel(calls: list[Any]) -> None:
    for call in calls:
        call.cancel()


def test_calls_in_flight_are_counted_over_both_gateways(site: Site) -> None:
    with site.at_both("calm") as both, site.at_both("other") as (beside, _):
        calls = [tenant.start("ServerStream", ASLEEP) for tenant in both for _ in range(4)]
        refused = refusals(calls)
        assert len(refused) == 4
        (error, *_) = refused
        assert error.quota == "in_flight"
        assert error.retry_after_s
        assert error.message == "this tenant has its limit of 4 calls in flight, over all gateways"
        assert any(
            detail.Is(error_details_pb2.QuotaFailure.DESCRIPTOR)
            for detail in error.status.details  # type: ignore[union-attr]
        )
        running = beside.start("ServerStream", ASLEEP)
        assert refusal("ServerStream", running) is None, "other tenants have quotas of their own"
        running.cancel()
        cancel(calls)
        for tenant in both:  # each may use all of the limit when the other uses nothing
            eventually(partial(_none_is_refused, tenant, 4), "the quota is free again")


def _none_is_refused(tenant: Tenant, count: int) -> bool:
    calls = [tenant.start("ServerStream", ASLEEP) for _ in range(count)]
    refused = refusals(calls)
    cancel(calls)
    return not refused


def test_new_calls_of_a_second_are_counted_and_the_refusal_says_when(site: Site) -> None:
    with site.at_both("fast") as both:
        calls = [tenant.start("ServerStream", ASLEEP) for tenant in both for _ in range(15)]
        refused = refusals(calls)
        assert 15 <= len(refused) <= 25
        assert {error.quota for error in refused} == {"per_second"}
        assert all(0 < (error.retry_after_s or 0) <= 1.25 for error in refused)
        cancel(calls)


def test_calls_that_wait_for_a_worker_are_counted(site: Site) -> None:
    with site.at_both("patient") as both, site.at_both("other") as (busy, _):
        running = [busy.start("ServerStream", ASLEEP) for _ in range(2)]
        assert refusals(running) == []
        calls = [tenant.start("ServerStream", ASLEEP) for tenant in both for _ in range(5)]
        refused = refusals(calls)
        assert {error.quota for error in refused} == {"queued"}
        # Each gateway presumes that two of its own run: it does not know of the other's.
        assert 3 <= len(calls) - len(refused) <= 3 + 4
        cancel([*running, *calls])


def test_bytes_are_counted(site: Site) -> None:
    large = EchoRequest(act="sleep", seconds=60, count=1, ballast=bytes(50_000))
    with site.at_both("big") as both:
        calls = [tenant.start("ServerStream", large) for tenant in both for _ in range(4)]
        refused = refusals(calls)
        assert 4 <= len(refused) < 8
        assert {error.quota for error in refused} == {"held_bytes"}
        cancel(calls)


def test_a_tenants_cap_on_priorities_is_an_invalid_argument(site: Site) -> None:
    with site.at_both("low") as (tenant, _):
        with pytest.raises(grpc.RpcError) as raised:
            answer("ServerStream", tenant.start("ServerStream", forebay_priority="3"))
        error = of_rpc_error(raised.value)
        assert isinstance(error, InvalidRequest)
        assert error.message == "forebay-priority is 3, over this tenant's cap of 2"
        assert answer("ServerStream", tenant.start("ServerStream", forebay_priority="2"))


def test_a_known_id_attaches_although_the_quota_is_used_up(site: Site) -> None:
    with site.at_both("fast") as (tenant, _):
        call_id = f"known-{Path(__file__).stem}"
        first = eventually_started(tenant, call_id)
        flood = [tenant.start("ServerStream", ASLEEP) for _ in range(20)]
        assert refusals(flood)
        again = tenant.start("ServerStream", ASLEEP, forebay_call_id=call_id)
        assert dict(again.initial_metadata())["forebay-attached"] == "running"
        cancel([first, again, *flood])


def test_delayed_calls_are_counted_until_they_start(site: Site) -> None:
    quick = EchoRequest(text="x", count=1)
    with site.at_both("later") as (here, there):
        soon = here.start("ServerStream", quick, forebay_start_after="6s")
        late = there.start("ServerStream", quick, forebay_start_after="60s")
        assert refusals([soon, late]) == []
        for tenant in (here, there):
            error = refusal("ServerStream", tenant.start("ServerStream", forebay_start_after="1m"))
            assert error is not None
            assert error.quota == "delayed"
            assert error.message == "this tenant has 2 delayed calls, which is its limit"
        assert [one.text for one in answer("ServerStream", soon)] == ["x"]
        more = here.start("ServerStream", quick, forebay_start_after="60s")
        assert refusal("ServerStream", more) is None
        cancel([late, more])


def eventually_started(tenant: Tenant, call_id: str) -> Any:
    """A call of that id, which is accepted when the quota allows it."""
    started: list[Any] = []

    def starts() -> bool:
        call = tenant.start("ServerStream", ASLEEP, forebay_call_id=call_id)
        if refusal("ServerStream", call) is None:
            started.append(call)
        return bool(started)

    eventually(starts, "the call is accepted")
    return started[0]
