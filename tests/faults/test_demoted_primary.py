"""A failover behind one address: old connections stay open to a server that became a replica.

So it is with a managed Redis behind a proxy, a load balancer or a virtual IP: new connections
reach the new primary, and nothing breaks the old ones.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from tests.echo.v1.echo_pb2 import EchoResponse
from tests.faults.backend import Link, Server, link, server
from tests.faults.echoes import TIMEOUT_S, gateway, indexes, slow, take, worker
from tests.faults.replicated import is_primary, replicated
from tests.faults.steady_load import steady_load
from tests.harness import eventually

RECOVERY_S = 10.0
"""The limit on the time without a successful durable or ephemeral call, and until none fails."""
WATCHED_S = 3.0
"""The load goes on for so long after that time: with eight slots, each caller meets each slot."""


class Pair:
    """A primary and its replica behind one address."""

    def __init__(self, primary: Server, replica: Server, address: Link) -> None:
        self.primary = primary
        self.replica = replica
        self.address = address

    def swap(self) -> None:
        """Directs new connections to the former replica, which is a primary by then."""
        self.address.port = self.replica.port
        self.primary, self.replica = self.replica, self.primary


def offset_of(replica: Server) -> int:
    """How much of its primary's writes the replica has."""
    found: Any = replica.client.info("replication")
    return int(found["slave_repl_offset"])


def swapped_roles(pair: Pair) -> None:
    """REPLICAOF on both, as an operator does manually."""
    pair.replica.do("REPLICAOF NO ONE")
    pair.primary.do(f"REPLICAOF 127.0.0.1 {pair.replica.port}")
    pair.swap()


def coordinated(pair: Pair) -> None:
    """FAILOVER, which pauses writes until the replica has them all."""
    pair.primary.do(f"FAILOVER TO 127.0.0.1 {pair.replica.port} TIMEOUT 5000")
    eventually(lambda: is_primary(pair.replica), "the replica is promoted")
    pair.swap()


def paused(pair: Pair) -> None:
    """CLIENT PAUSE for all commands, then the change of roles, as some providers do.

    The replica is promoted when it has all writes. Commands that came during the pause run after
    it, before the primary is demoted, so the primary refuses writes without a replica.
    """
    with pair.primary.client.pipeline(transaction=True) as at_once:
        at_once.execute_command("CLIENT PAUSE", 3000, "ALL")
        at_once.config_set("min-replicas-to-write", 1)
        at_once.info("replication")
        written = at_once.execute()[-1]["master_repl_offset"]
    eventually(lambda: offset_of(pair.replica) >= written, "the replica has all writes")
    pair.replica.do("REPLICAOF NO ONE")
    pair.swap()
    pair.replica.do(f"REPLICAOF 127.0.0.1 {pair.primary.port}")


def late_address(pair: Pair) -> None:
    """The address leads to the replica for 2 s before it follows."""
    pair.replica.do("REPLICAOF NO ONE")
    pair.primary.do(f"REPLICAOF 127.0.0.1 {pair.replica.port}")
    time.sleep(2.0)
    pair.swap()


def killed(pair: Pair) -> None:
    """The primary dies, and the replica is promoted."""
    pair.primary.kill()
    pair.replica.do("REPLICAOF NO ONE")
    pair.swap()


ONE, TWO = "one server", "two servers"
WITHOUT_LOSS = (coordinated, paused)
"""No write comes between the replica's promotion and the primary's demotion."""
CASES = [
    (swapped_roles, "prefork", ONE),
    pytest.param(killed, "prefork", ONE, marks=pytest.mark.variant),
    pytest.param(coordinated, "prefork", ONE, marks=pytest.mark.variant),
    pytest.param(paused, "prefork", ONE, marks=pytest.mark.variant),
    pytest.param(late_address, "threads", ONE, marks=pytest.mark.variant),
    pytest.param(swapped_roles, "threads", TWO, marks=pytest.mark.variant),
]


def rest_of(stream: Iterator[EchoResponse], *, may_be_lost: bool) -> list[EchoResponse] | None:
    """The other items; None if the caller was told that the failover has lost some."""
    try:
        return list(stream)
    except grpc.RpcError as error:
        if may_be_lost and error.code() is grpc.StatusCode.DATA_LOSS:
            return None
        raise


@pytest.fixture
def pair() -> Iterator[Pair]:
    with replicated() as (primary, replica), link(primary.port) as address:
        yield Pair(primary, replica, address)


def test_health_notices_that_the_server_has_become_a_replica(pair: Pair) -> None:
    with gateway(FOREBAY_LEDGER_URL=pair.address.url) as running:
        eventually(running.serving, "the gateway serves", RECOVERY_S)
        pair.replica.do("REPLICAOF NO ONE")
        pair.primary.do(f"REPLICAOF 127.0.0.1 {pair.replica.port}")
        eventually(lambda: not running.serving(), "health notices", RECOVERY_S)
        pair.swap()
        eventually(running.serving, "the gateway serves again", RECOVERY_S)


@pytest.mark.parametrize(("fail_over", "pool", "servers"), CASES)
def test_calls_succeed_within_10_s_of_a_failover_behind_one_address(
    pair: Pair,
    fail_over: Callable[[Pair], None],
    pool: str,
    servers: str,
    record_property: Callable[[str, object], None],
) -> None:
    with contextlib.ExitStack() as stack:
        env = {"FOREBAY_LEDGER_URL": pair.address.url}
        if servers == TWO:
            env["FOREBAY_BROKER_URL"] = stack.enter_context(server()).url
        running = stack.enter_context(gateway(**env))
        stack.enter_context(worker(pool, **env))
        load = stack.enter_context(steady_load(running))
        load.wait_for(20)
        stream = running.stub.ServerStream(slow(100), timeout=TIMEOUT_S)
        first = take(stream, 5)
        since = time.monotonic()
        fail_over(pair)
        load.wait_for(100)
        eventually(running.serving, "the gateway serves", RECOVERY_S)
        pause_s = load.longest_pause_s(since)
        rest = rest_of(stream, may_be_lost=fail_over not in WITHOUT_LOSS)
        eventually(lambda: time.monotonic() > since + RECOVERY_S + WATCHED_S, "the load goes on")
    record_property("longest_pause_s", round(pause_s, 2))
    assert rest is None or indexes(first + rest) == list(range(100))
    assert load.errors == []
    if fail_over in WITHOUT_LOSS:
        assert load.lost == []
    assert pause_s < RECOVERY_S
    assert load.failed_since(since + RECOVERY_S) == []
