"""A tenant that floods a queue beside one that makes a call now and then."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.keys import PARTITIONS
from forebay_backends.ledger.operations.held import adopt_held
from forebay_gateway.fair_queues.fair_queue import WINDOW
from tests.contract.systems import backends_of
from tests.echo.running import echo_environment, echo_gateway, echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest, Gate
from tests.harness import Process, redis_server
from tests.rabbitmq import RabbitMQ
from tests.tenancy.running import Tenants, answer

pytestmark = pytest.mark.variant
FLOOD = {"QuickAgain": 10_000, "Unary": 3_000}
"""Calls at once. More durable ones keep a gateway on a busy machine from renewing its watches."""
LIGHT_CALLS = 8
MOST_S = 4.0
"""Much more than the light tenant waits, and much less than the flood takes."""
NAMES = ("flood", "light")


@pytest.fixture(params=["redis", "rabbitmq"])
def env(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[dict[str, str], Tenants]]:
    """The environment of gateways and workers, with each broker."""
    broker = {}
    if request.param == "rabbitmq":
        node: RabbitMQ = request.getfixturevalue("rabbitmq")
        broker["FOREBAY_BROKER_URL"] = node.url("redis")
    tenants = Tenants(tmp_path, *NAMES)
    with redis_server() as url:
        yield (
            echo_environment(
                FOREBAY_LEDGER_URL=url,
                FOREBAY_MAX_CALLS="20000",
                FOREBAY_MAX_HELD_BYTES=str(1 << 30),
                FOREBAY_QUEUE_WAIT_S="600",
                **broker,
                **tenants.settings(any={"weight": 1}),
            ),
            tenants,
        )


@contextlib.contextmanager
def site(env: dict[str, str], slots: int) -> Iterator[tuple[Process, str]]:
    """A worker and a gateway."""
    with echo_worker(env, slots=slots), echo_gateway(env) as gateway:
        yield gateway


@pytest.mark.parametrize("method", ["Unary", "QuickAgain"])
@pytest.mark.timeout(300)
def test_the_light_tenant_does_not_wait_for_the_flood(
    env: tuple[dict[str, str], Tenants], method: str
) -> None:
    variables, tenants = env
    with (
        site(variables, slots=4) as (_, address),
        tenants.calling("flood", address) as flood,
        tenants.calling("light", address) as light,
    ):
        light.took_s(method)
        calls = [flood.start(method) for _ in range(FLOOD[method])]
        light.took_s(method)  # it comes behind the flood's arrival at the gateway, not in the queue
        waits: list[float] = []
        while not all(call.done() for call in calls) and len(waits) < LIGHT_CALLS:
            waits.append(light.took_s(method))
            time.sleep(1 - waits[-1] % 1)
        left = sum(not call.done() for call in calls)
        for call in calls:
            answer(method, call)
    assert left or len(waits) < LIGHT_CALLS
    # Behind the whole flood they would take more than that, on any machine.
    assert statistics.median(waits) < MOST_S, waits
    assert max(waits) < 3 * MOST_S, waits


@pytest.mark.timeout(300)
def test_a_flood_whose_callers_left_keeps_its_places_and_a_cancelled_one_leaves(
    env: tuple[dict[str, str], Tenants],
) -> None:
    variables, tenants = env
    work = EchoRequest(act="sleep", seconds=0.02, count=1)
    with (
        site(variables, slots=2) as (_, address),
        tenants.calling("flood", address) as flood,
        tenants.calling("light", address) as light,
    ):
        kept = started(flood, "kept", 100, work, on_disconnect="detach")
        given_up = started(flood, "given-up", 100, work, on_disconnect="cancel")
        for call in (*kept.values(), *given_up.values()):
            call.cancel()
        assert light.took_s("ServerStream") < MOST_S
        for call_id in kept:
            assert answer("Detached", attached(flood, call_id, work))


@pytest.mark.timeout(300)
def test_a_gateway_that_is_killed_in_mid_flood_loses_no_durable_call(
    env: tuple[dict[str, str], Tenants],
) -> None:
    variables, tenants = env
    work = EchoRequest(act="sleep", seconds=0.02, count=1)
    with (
        site(variables, slots=2) as (gateway, address),
        echo_gateway(variables) as (_, other_address),
        tenants.calling("flood", address) as flood,
        tenants.calling("flood", other_address) as elsewhere,
    ):
        calls = started(flood, "flood", 500, work, on_disconnect="detach")
        gateway.popen.kill()
        gateway.popen.wait()
        for call_id in calls:
            assert answer("Detached", attached(elsewhere, call_id, work))


def test_a_gateway_that_shuts_down_hands_over_the_calls_that_it_holds_back(
    env: tuple[dict[str, str], Tenants], tmp_path: Path
) -> None:
    variables, tenants = env
    gate = tmp_path / "open"
    work = EchoRequest(count=1, gate=Gate(path=str(gate)))
    slots, count = 2, 20
    with site(variables, slots=slots) as (gateway, address):
        with tenants.calling("flood", address) as flood:
            for call in started(flood, "left", count, work, on_disconnect="detach").values():
                call.cancel()
        assert gateway.stop() == 0
        with contextlib.closing(BlockingLedger(backends_of(variables).ledger)) as ledger:
            looks = [adopt_held(number, ["echo"]) for number in range(PARTITIONS)]
            found = [call for look in looks for call in ledger.run(look)]
        assert len(found) == count - WINDOW * slots, "another gateway finds them at once"
        gate.touch()


def started(
    tenant: Any, name: str, count: int, request: EchoRequest, *, on_disconnect: str
) -> dict[str, Any]:
    """Detached calls by their ids, all of them accepted."""
    calls = {
        f"{name}-{number}": tenant.start(
            "Detached",
            request,
            forebay_call_id=f"{name}-{number}",
            forebay_on_disconnect=on_disconnect,
        )
        for number in range(count)
    }
    for call in calls.values():
        assert dict(call.initial_metadata())["forebay-attached"] == "new"
    return calls


def attached(tenant: Any, call_id: str, request: EchoRequest) -> Any:
    """The call, by its id."""
    return tenant.start("Detached", request, forebay_call_id=call_id)
