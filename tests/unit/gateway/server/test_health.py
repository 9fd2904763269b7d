"""A service is SERVING while a part of the gateway that runs its methods is up."""

from __future__ import annotations

from grpc_health.v1 import health_pb2

from forebay_gateway.server.health import HealthService

SERVING = health_pb2.HealthCheckResponse.SERVING
PARTS = {"Own": {""}, "Shop": {"shop"}, "Mixed": {"", "shop"}}


def serving(health: HealthService) -> set[str]:
    return {name for name, status in health.statuses.items() if status == SERVING}


def test_nothing_is_serving_at_first() -> None:
    health = HealthService(PARTS)
    assert serving(health) == set()
    assert health.statuses.keys() == {"", *PARTS}


async def test_an_outage_of_one_part_is_that_of_the_services_that_need_it_alone() -> None:
    health = HealthService(PARTS)
    await health.set_up("", True)
    assert serving(health) == {"", "Own", "Mixed"}
    await health.set_up("shop", True)
    assert serving(health) == {"", "Own", "Shop", "Mixed"}
    await health.set_up("", False)
    assert serving(health) == {"", "Shop", "Mixed"}
    await health.set_up("shop", False)
    assert serving(health) == set()


async def test_the_main_part_is_up_while_all_of_its_needs_are_met() -> None:
    health = HealthService(PARTS, {"ledger", "identity"})
    await health.set_met("ledger", True)
    assert serving(health) == set()
    await health.set_met("identity", True)
    assert serving(health) == {"", "Own", "Mixed"}
    await health.set_met("ledger", False)
    assert serving(health) == set()


async def test_a_gateway_that_drains_is_not_serving_whatever_is_up() -> None:
    health = HealthService(PARTS)
    await health.set_up("shop", True)
    health.drain()
    await health.set_up("", True)
    assert serving(health) == set()
