"""The ledger's master dies or hands over, behind Sentinel and in a Redis Cluster, under load."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import grpc
import pytest

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from tests.harness import environment, eventually, forebay_gateway, worker
from tests.rabbitmq import RabbitMQ
from tests.redis_fleets import Cluster, SentinelFleet, redis_cluster, sentinel_fleet

RECOVERY_S = 10.0
"""The longest time until every new call succeeds, after a failover that 1 s of silence starts."""
_PROBE_S = 2.0
_WATCHED_S = 15.0
"""How long new calls are made after the failover."""
_CALL_S = 30.0
"""A call whose answer was lost with the master takes up to a lease (15 s) longer."""
_CALLERS = 3
_QUEUES = ("-Q", "add,factorial,mat_mul", "-c", "2")


@dataclass
class Load:
    """Calls of one kind, by a few callers; the times of their successes, and their errors."""

    stub: ComputeServiceStub
    durable: bool
    done_at: list[float] = field(default_factory=list)
    longest_s: float = 0.0
    lost: int = 0
    """Replication is asynchronous: a call that was just accepted may be lost with the master, and
    its caller is told so. Each caller has one call in flight."""
    wrong: list[str] = field(default_factory=list)

    def run(self, caller: int, stop: threading.Event) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            call_id = f"load-{id(self)}-{caller}-{number}"
            began = time.monotonic()
            self._call(number, (("forebay-call-id", call_id),) if self.durable else ())
            self.longest_s = max(self.longest_s, time.monotonic() - began)

    def _call(self, number: int, metadata: Any) -> None:
        give_up = time.monotonic() + _CALL_S
        while time.monotonic() < give_up:
            try:
                request = pb.AddRequest(x=number, y=1)
                total = self.stub.Add(request, timeout=_CALL_S, metadata=metadata).sum
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.DATA_LOSS:
                    self.lost += 1
                    return
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    self.wrong.append(f"{error.code()}: {error.details()}")
                    return
            else:
                if total != number + 1:
                    self.wrong.append(f"{number} + 1 = {total}")
                self.done_at.append(time.monotonic())
                return
        self.wrong.append(f"call {number} is not answered")


@contextlib.contextmanager
def load(address: str) -> Iterator[list[Load]]:
    """Makes durable and ephemeral calls during the block; none may fail."""
    stop = threading.Event()
    with grpc.insecure_channel(address) as channel:
        stub = ComputeServiceStub(channel)
        loads = [Load(stub, durable) for durable in (True, False)]
        threads = [
            threading.Thread(target=each.run, args=(caller, stop))
            for each in loads
            for caller in range(_CALLERS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield loads
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert [each.wrong for each in loads] == [[], []]
    assert all(each.lost <= _CALLERS for each in loads)


def wait_for_calls(loads: list[Load], count: int) -> None:
    """Returns when each load has had that many more successes."""
    wanted = [len(each.done_at) + count for each in loads]

    def is_done() -> bool:
        return all(len(each.done_at) >= least for each, least in zip(loads, wanted, strict=True))

    eventually(is_done, "calls succeed")


def time_to_serve(stub: ComputeServiceStub, durable: bool) -> float:
    """The time from which on every new call of the kind succeeds, in s.

    The load itself may be silent for longer: all its calls in flight may have lost their replies.
    """
    began = last_failed = time.monotonic()
    for number in count():
        metadata = (("forebay-call-id", f"probe-{id(stub)}-{number}"),) if durable else ()
        called = time.monotonic()
        if called > began + _WATCHED_S:
            break
        try:
            stub.Add(pb.AddRequest(x=1, y=1), timeout=_PROBE_S, metadata=metadata)
        except grpc.RpcError:
            last_failed = time.monotonic()
    return last_failed - began


def lose(address: str, take_away: Callable[[], None]) -> dict[str, float]:
    """Loses a master under load; returns the time until calls succeed and the longest one, in s."""
    with load(address) as loads:
        wait_for_calls(loads, 20)
        take_away()
        with ThreadPoolExecutor() as threads:
            served = list(threads.map(lambda each: time_to_serve(each.stub, each.durable), loads))
        wait_for_calls(loads, 100)
    return {
        "recovery_s": round(max(served), 2),
        "longest_call_s": round(max(each.longest_s for each in loads), 2),
    }


@pytest.fixture
def sentinels() -> Iterator[SentinelFleet]:
    with sentinel_fleet() as fleet:
        yield fleet


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with redis_cluster() as cluster:
        yield cluster


@pytest.mark.parametrize("how", ["killed", pytest.param("handed over", marks=pytest.mark.variant)])
def test_ledger_and_broker_follow_sentinel_to_the_new_master(
    sentinels: SentinelFleet, how: str, record_testsuite_property: Callable[[str, object], None]
) -> None:
    env = environment(FOREBAY_LEDGER_URL=sentinels.url())
    with forebay_gateway(env=env) as (_, address), worker(*_QUEUES, env=env):
        figures = lose(address, sentinels.master.kill if how == "killed" else sentinels.hand_over)
    record_testsuite_property(f"sentinel, {how}", figures)
    assert figures["recovery_s"] < RECOVERY_S


@pytest.mark.variant
@pytest.mark.parametrize("how", ["killed", "handed over"])
def test_a_ledger_in_a_cluster_follows_to_the_new_master(
    cluster: Cluster,
    rabbitmq: RabbitMQ,
    how: str,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    env = environment(FOREBAY_LEDGER_URL=cluster.url, FOREBAY_BROKER_URL=rabbitmq.url("nemesis"))
    kill, hand_over = cluster.owner("{fleet}").kill, partial(cluster.hand_over, "{fleet}")
    with forebay_gateway(env=env) as (_, address), worker(*_QUEUES, env=env):
        figures = lose(address, kill if how == "killed" else hand_over)
    record_testsuite_property(f"cluster, {how}", figures)
    assert figures["recovery_s"] < RECOVERY_S
