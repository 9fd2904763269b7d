"""How many handlers a worker runs at once, coroutines and ordinary ones, on each pool."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import redis

from forebay_backends.broker.task_messages import queue_lists
from tests.echo.gates import Gates
from tests.echo.running import COROUTINES_APP, echo_environment, echo_gateway, echo_worker
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually, short_folder

ORDINARY = "Cached"
"""The method of this application whose handler is no coroutine, and has a request."""
HELD_S = 0.3
"""How long the late call is kept waiting."""
HELD_MS = 0.99 * HELD_S * 1000
"""As the ledger's clock measures it, which may be slower by one part in 200."""


@dataclass(frozen=True)
class System:
    """A gateway, and a worker of coroutine handlers with that many slots."""

    stub: EchoServiceStub
    slots: int
    broker: redis.Redis


@pytest.fixture
def gates(tmp_path: Path) -> Gates:
    return Gates(tmp_path)


@pytest.fixture(
    scope="module",
    params=[
        "asyncio 3",
        *(
            pytest.param(pool, marks=pytest.mark.variant)
            for pool in ("threads 1", "threads 2", "prefork 1", "prefork 2")
        ),
    ],
)
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    pool, _, slots = request.param.partition(" ")
    with short_folder() as folder:
        env = echo_environment(FOREBAY_DATA_DIR=str(folder / "data"))
        with (
            echo_gateway(env) as (_, address),
            echo_worker(env, pool, int(slots), COROUTINES_APP),
            grpc.insecure_channel(address) as channel,
            redis.Redis(unix_socket_path=f"{folder}/data/ledger.sock") as broker,
        ):
            yield System(EchoServiceStub(channel), int(slots), broker)


@pytest.mark.parametrize("method", ["Unary", "Quick", ORDINARY])
def test_exactly_as_many_handlers_as_slots_run_at_once(
    system: System, gates: Gates, method: str
) -> None:
    gates.fill(system.stub, method, system.slots)


@pytest.mark.parametrize("system", ["asyncio 3"], indirect=True)
@pytest.mark.parametrize("method", ["Unary", "Quick"])
def test_a_blocked_ordinary_handler_and_coroutines_do_not_wait_for_each_other(
    system: System, gates: Gates, method: str
) -> None:
    for waits, runs in ((ORDINARY, method), (method, ORDINARY)):
        waiting = gates.call(system.stub, waits, waits)
        eventually(lambda waits=waits: waits in gates.begun(), "the handler waits at its gate")
        for number in range(3):
            name = f"{number} beside {waits}"
            gates.open(name)
            assert gates.call(system.stub, runs, name).result().text == name
        assert not waiting.done()
        gates.open(waits)
        assert waiting.result().text == waits


@pytest.mark.parametrize(
    "system",
    ["asyncio 3", pytest.param("prefork 1", marks=pytest.mark.variant)],
    indirect=True,  # on threads, the worker takes the message before it has a slot
)
@pytest.mark.parametrize("method", ["Unary", "Quick"])
def test_the_times_of_a_call_are_how_long_it_waited_for_a_slot_and_how_long_it_ran(
    system: System, gates: Gates, method: str
) -> None:
    began = time.monotonic()
    running = [str(number) for number in range(system.slots)]
    calls = {name: gates.call(system.stub, method, name) for name in running}
    eventually(lambda: len(gates.begun()) == system.slots, "the slots are full")
    calls["late"] = gates.call(system.stub, method, "late")
    eventually(lambda: any(map(system.broker.llen, queue_lists("echo"))), "the message waits")
    held_since = time.monotonic()
    eventually(lambda: time.monotonic() - held_since > HELD_S, "it has waited")
    for name in calls:
        gates.open(name)
    times = {name: dict(call.trailing_metadata()) for name, call in calls.items()}
    took_ms = (time.monotonic() - began) * 1000
    assert int(times["late"]["forebay-queue-ms"]) >= HELD_MS
    for name in running:
        assert int(times[name]["forebay-run-ms"]) >= HELD_MS
    for each in times.values():
        waited_and_ran_ms = int(each["forebay-queue-ms"]) + int(each["forebay-run-ms"])
        assert waited_and_ran_ms <= took_ms * 1.01 + 2
