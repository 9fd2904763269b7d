"""A ledger in a Redis Cluster whose slots are moved under running gateways and workers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from forebay.errors import BackendUnavailable
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import PARTITIONS, partition_prefix
from forebay_backends.ledger.operations.base import Push
from forebay_backends.ledger.operations.calls import CallSnapshot, accept, watch
from tests.contract.records import new_call, new_key
from tests.faults.echoes import Gateway, gateway, worker
from tests.faults.every_kind import DURABLE, calls_of_every_kind
from tests.harness import eventually, redis_server
from tests.redis_fleets import Cluster, Node, redis_cluster

RECOVERY_S = 10.0
CHANNEL = "test:gateway"


@dataclass(frozen=True)
class System:
    """A gateway whose ledger is a cluster, with a worker."""

    cluster: Cluster
    gateway: Gateway


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(redis_cluster(replicas=0, node_timeout_ms=15_000))
        env = {
            "FOREBAY_LEDGER_URL": cluster.url,
            "FOREBAY_BROKER_URL": stack.enter_context(redis_server()),
        }
        running = stack.enter_context(gateway(**env))
        stack.enter_context(worker("prefork", **env))
        yield System(cluster, running)


def test_calls_of_every_kind_succeed_while_all_slots_are_moved(
    system: System, record_testsuite_property: Callable[[str, object], None]
) -> None:
    with calls_of_every_kind(system.gateway.stub) as calls:
        calls.wait_for(3)
        for number in range(PARTITIONS):
            system.cluster.move(partition_prefix(number), keys_at_once=10)
        system.cluster.move("{fleet}")
        moved_at = time.monotonic()
        calls.wait_for(1)
        recovery_s = time.monotonic() - moved_at
        calls.wait_for(3)
    figures = {"recovery_s": round(recovery_s, 2), "longest_call_s": round(calls.longest_s, 2)}
    record_testsuite_property("moved_slots", figures)
    assert calls.errors == []
    assert recovery_s < RECOVERY_S


def test_calls_succeed_after_a_node_has_left_the_cluster(system: System) -> None:
    """One that gateway and worker listen to: it would hear nothing of the others any more."""
    cluster, stub = system.cluster, system.gateway.stub
    node = cluster.join()
    for number in range(PARTITIONS):
        cluster.move(partition_prefix(number), to=node)
    while not listeners(node):
        for other in cluster.nodes:
            other.client.client_kill_filter(_type="pubsub")
        time.sleep(0.1)
    with calls_of_every_kind(stub, DURABLE) as calls:
        calls.wait_for(3)
        for number in range(PARTITIONS):
            cluster.move(partition_prefix(number))
        cluster.leave(node)
        eventually(lambda: not listeners(node), "all listen to other nodes", RECOVERY_S)
        calls.wait_for(5)
    assert calls.errors == []


def listeners(node: Node) -> int:
    """How many channels of gateways and workers the node has subscribers of."""
    return len(node.client.pubsub_channels("forebay:*"))


async def test_no_script_runs_while_its_slot_has_keys_on_two_nodes(system: System) -> None:
    blocking, ledger = BlockingLedger(system.cluster.url), Ledger(system.cluster.url)
    call = new_key()
    assert blocking.run(accept(call, new_call(), CHANNEL, Push())) is None
    with system.cluster.moving(call.partition) as move:
        for _ in range(3):
            move.some_keys(1)
            with pytest.raises(BackendUnavailable, match="is moving its keys"):
                blocking.run(watch(call, CHANNEL))
        waiting = asyncio.create_task(ledger.run(watch(call, CHANNEL)))
        other = asyncio.create_task(ledger.run(accept(call, new_call(), CHANNEL, Push())))
        await asyncio.sleep(0)
        while move.some_keys():
            pass
    assert isinstance(await waiting, CallSnapshot)
    assert (await other) is not None, "it was accepted before"
    assert isinstance(blocking.run(watch(call, CHANNEL)), CallSnapshot)
    blocking.close()
    await ledger.close()
