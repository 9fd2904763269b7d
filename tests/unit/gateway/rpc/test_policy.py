"""The record of a new call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from forebay.metadata import from_pairs
from forebay.routes import Limits, Method
from forebay.routes.route import OnEnd
from forebay.v1 import route_pb2
from forebay_backends.ledger.operations.calls import NewCall
from forebay_backends.settings import Settings, load_settings
from forebay_gateway.rpc.cache_key import CacheKey
from forebay_gateway.rpc.options import CallOptions
from forebay_gateway.rpc.policy import new_call, request_limit_bytes, stall_s
from tests.unit.samples import method

METADATA = from_pairs([("x-tenant", "a")])
OPTIONS = CallOptions("id", resume_from=0, detach=False, priority=0, forwarded_metadata=METADATA)


@pytest.fixture
def settings() -> Settings:
    """Settings with distinct values, so that a mix-up is detected."""
    return load_settings(
        {
            "queue_wait_s": 11.0,
            "run_time_s": 12.0,
            "attempts": 13,
            "linger_s": 14.0,
            "idle_s": 19.0,
            "request_bytes": 15,
            "item_bytes": 16,
            "window_bytes": 17,
            "retention_s": 18.0,
        }
    )


def _new(
    settings: Settings, method: Method, options: CallOptions = OPTIONS, **changes: Any
) -> NewCall:
    arguments: dict[str, Any] = {"timeout_s": 5.0, "request": b"r", "digest": "d", **changes}
    return new_call(method, options, settings, **arguments)


def test_the_settings_apply_where_route_and_caller_set_nothing(settings: Settings) -> None:
    factorial = method("Factorial", limits=Limits())
    assert _new(settings, factorial) == NewCall(
        method="forebay.compute.v1.ComputeService.Factorial",
        task="factorial_module.tasks.factorial",
        queue="factorial",
        priority=0,
        digest="d",
        receiving=False,
        request=b"r",
        request_bytes=1,
        metadata=METADATA.SerializeToString(),
        timeout_s=5.0,
        queue_wait_s=11.0,
        run_limit_s=12.0,
        linger_s=14.0,
        detach=False,
        item_limit_bytes=16,
        window_bytes=17,
        retention_s=18.0,
        attempts_limit=13,
        may_run_again=True,
        deterministic=True,
        live=False,
        idle_s=19.0,
        fingerprint=factorial.fingerprint,
    )
    assert request_limit_bytes(factorial, settings) == 15


def test_the_routes_limits_override_the_settings(settings: Settings) -> None:
    limits = Limits(1.0, 2.0, 3, 4.0, 5, 6, 7.0)
    factorial = method("Factorial", limits=limits)
    new = _new(settings, factorial)
    assert (new.queue_wait_s, new.run_limit_s, new.attempts_limit) == (1.0, 2.0, 3)
    assert (new.linger_s, new.item_limit_bytes, new.idle_s) == (4.0, 6, 7.0)
    assert request_limit_bytes(factorial, settings) == 5


def test_the_routes_own_properties_are_kept(settings: Settings) -> None:
    once = replace(method("Factorial", deterministic=False), may_run_again=False)
    new = _new(settings, once)
    assert (new.may_run_again, new.deterministic) == (False, False)


def test_a_live_call_is_queued_before_its_requests_arrive(settings: Settings) -> None:
    live = _new(settings, method("MatMul", live=True))
    spooled = _new(settings, method("MatMul", live=False))
    assert (live.live, live.receiving) == (True, False)
    assert (spooled.live, spooled.receiving) == (False, True)


def test_a_call_whose_id_the_gateway_made_does_not_linger(settings: Settings) -> None:
    nameless = replace(OPTIONS, call_id=None)
    assert _new(settings, method("Factorial"), nameless).linger_s == 0.0


@pytest.mark.parametrize("linger_s", [0.0, 4.0])
@pytest.mark.parametrize("call_id", [None, "id"])
def test_a_route_that_sets_the_linger_sets_it_for_all(
    settings: Settings, linger_s: float, call_id: str | None
) -> None:
    lingering = method("Factorial", limits=Limits(linger_s=linger_s))
    assert _new(settings, lingering, replace(OPTIONS, call_id=call_id)).linger_s == linger_s


def test_a_detached_call_is_not_bound_by_its_callers_deadline(settings: Settings) -> None:
    new = _new(settings, method("Factorial"), replace(OPTIONS, detach=True))
    assert (new.detach, new.timeout_s, new.run_limit_s) == (True, None, 12.0)


def test_a_call_with_a_request_stream_starts_by_receiving(settings: Settings) -> None:
    assert _new(settings, method("MatMul")).receiving
    assert request_limit_bytes(method("MatMul"), settings) == 2 << 30


def test_a_route_may_wait_longer_for_its_callers(settings: Settings) -> None:
    assert stall_s(method("Factorial", limits=Limits()), settings) == settings.stall_s > 0
    assert stall_s(method("Factorial", limits=Limits(stall_s=7.0)), settings) == 7.0


def test_a_run_that_others_may_join_has_all_requests_and_no_callers_deadline(
    settings: Settings,
) -> None:
    key = CacheKey("ab" * 32, "acme", ttl_s=20.0)
    shared = _new(settings, method("MatMul"), cache_key=key)
    assert (shared.receiving, shared.timeout_s) == (False, None)
    assert (shared.cache, shared.cache_ttl_s) == ("ab" * 32, 20.0)
    alone = _new(settings, method("MatMul"))
    assert (alone.receiving, alone.timeout_s, alone.cache, alone.cache_ttl_s) == (True, 5.0, "", 0)


def test_a_route_that_is_told_of_ends_has_its_task_in_the_record(settings: Settings) -> None:
    told = method("Factorial", on_end=OnEnd("shop.tasks.told", "ends"))
    found = route_pb2.OnEnd.FromString(_new(settings, told).on_end)
    assert (found.task, found.queue) == ("shop.tasks.told", "ends")
