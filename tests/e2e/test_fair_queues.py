"""A tenant that floods a queue beside one that makes a call now and then."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.keys import PARTITIONS, CallKey
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.held import adopt_held
from forebay_gateway.fair_queues.fair_queue import WINDOW
from tests.contract.records import Record
from tests.contract.systems import backends_of
from tests.echo.running import echo_environment, echo_gateway, echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest, Gate
from tests.harness import Process, eventually, redis_server
from tests.rabbitmq import RabbitMQ
from tests.tenancy.running import Tenants, answer

pytestmark = pytest.mark.variant
FLOOD = {"QuickAgain": 16_000, "Unary": 800}
BURSTS = 8
"""A gateway on a slow machine is too busy for its own work while it accepts the flood at once."""
LIGHT_CALLS = 8
FEWEST_LIGHT_CALLS = 3
MOST = 0.1
"""Many more of the flood's calls than end during one of the light tenant's: about 2 or 3 in 100."""
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
        answer(method, light.start(method))
        calls: list[Any] = []
        for _ in range(BURSTS):
            calls += [flood.start(method) for _ in range(FLOOD[method] // BURSTS)]
            # This one comes behind the burst's arrival at the gateway, not in the queue.
            answer(method, light.start(method))
        shares = list(islice(overtaken(calls, lambda: light.start(method).result()), LIGHT_CALLS))
        for call in calls:
            answer(method, call)
    # A call behind the whole flood ends when nothing is left of it, and is not among these.
    assert len(shares) >= FEWEST_LIGHT_CALLS, shares
    assert statistics.median(shares) < MOST, shares
    assert max(shares) < 2 * MOST, shares


def overtaken(flood: Sequence[Any], call: Callable[[], object]) -> Iterator[float]:
    """Makes calls while the flood lasts; for each, the share of the flood that ended meanwhile.

    A share, since how long a call takes depends on the machine.
    """

    def left() -> int:
        return sum(not each.done() for each in flood)

    while before := left():
        call()
        if after := left():
            yield (before - after) / len(flood)


@pytest.mark.timeout(300)
def test_a_flood_whose_callers_left_keeps_its_places_and_a_cancelled_one_leaves(
    env: tuple[dict[str, str], Tenants], tmp_path: Path
) -> None:
    variables, tenants = env
    gate = tmp_path / "open"
    work = EchoRequest(count=1, gate=Gate(path=str(gate)))
    slots, count = 2, 100
    with (
        site(variables, slots=slots) as (_, address),
        tenants.calling("flood", address) as flood,
        tenants.calling("light", address) as light,
        contextlib.closing(BlockingLedger(backends_of(variables).ledger)) as ledger,
    ):
        kept = started(flood, "kept", count, work, on_disconnect="detach")
        given_up = started(flood, "given-up", count, work, on_disconnect="cancel")
        for call in (*kept.values(), *given_up.values()):
            call.cancel()
        left = [Record(ledger, CallKey(call_id, "flood")) for call_id in given_up]
        eventually(
            lambda: all(each.state is State.CANCELLED for each in left), "the cancelled ones end"
        )
        [quick] = started(light, "quick", 1, work, on_disconnect="cancel").items()
        gate.touch()
        assert answer("Detached", quick[1])
        for call_id in kept:
            assert answer("Detached", attached(flood, call_id, work))
        stayed = [began_ms(ledger, CallKey(call_id, "flood")) for call_id in kept]
        light_began_ms = began_ms(ledger, CallKey(quick[0], "light"))
    before = sum(began < light_began_ms for began in stayed)
    assert before <= 2 * WINDOW * slots, "the light tenant's call came next"


@pytest.mark.timeout(300)
def test_a_tenant_of_three_times_the_weight_begins_three_times_the_calls(
    env: tuple[dict[str, str], Tenants], tmp_path: Path
) -> None:
    variables, tenants = env
    weights = tenants.settings(flood={"weight": 1}, light={"weight": 3})
    gate, slots, count = tmp_path / "open", 2, 90
    work = EchoRequest(count=1, gate=Gate(path=str(gate)))
    with (
        site(variables | weights, slots=slots) as (_, address),
        tenants.calling("flood", address) as one,
        tenants.calling("light", address) as three,
        contextlib.closing(BlockingLedger(backends_of(variables).ledger)) as ledger,
    ):
        calls = started(one, "one", count, work, on_disconnect="cancel")
        calls |= started(three, "three", count, work, on_disconnect="cancel")
        gate.touch()
        for call in calls.values():
            assert answer("Detached", call)
        began = {
            call_id: began_ms(ledger, CallKey(call_id, "light" if "three" in call_id else "flood"))
            for call_id in calls
        }
    order = [call_id.partition("-")[0] for call_id in sorted(began, key=lambda each: began[each])]
    # The first calls were sent before the other tenant had any.
    both = order[WINDOW * slots + slots :][:80]
    assert 52 <= both.count("three") <= 68, order


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


def began_ms(ledger: BlockingLedger, call: CallKey) -> int:
    """When a handler began with the call, by the ledger's clock."""
    return int(Record(ledger, call).fields["begun_at"])


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
