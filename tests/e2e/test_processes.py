"""`forebay gateway --processes N`: several processes on one port act as one gateway."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import grpc
import psutil
import pytest

import forebay
from forebay.v1 import calls_pb2
from forebay.v1.calls_pb2_grpc import CallServiceStub
from tests.commands import run
from tests.e2e.conftest import ROOT, Site
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process, eventually, forebay_gateway, lives

TIMEOUT_S = 60.0
PROCESSES = 2
_CONNECTIONS = 24  # the probability that all reach the same process is 1 in 2^23
SLOW = EchoRequest(text="x", count=40, seconds=0.1)


@dataclass
class Gateway:
    """A running parent."""

    process: Process
    address: str

    def members(self) -> set[int]:
        """The process ids of its processes that serve or are about to."""
        children = psutil.Process(self.process.popen.pid).children()
        return {child.pid for child in children if lives(child)}


@contextmanager
def running(site: Site, **variables: str) -> Iterator[Gateway]:
    env = {**site.env, **variables}
    with forebay_gateway("--processes", str(PROCESSES), env=env, cwd=ROOT) as started:
        yield Gateway(*started)


@pytest.fixture(scope="module")
def gateway(site: Site) -> Iterator[Gateway]:
    with running(site, FOREBAY_ADMIN_LISTEN="127.0.0.1:0") as started:
        yield started


@pytest.fixture
def connected() -> Iterator[Callable[[Gateway], EchoServiceStub]]:
    """Makes stubs with a connection each."""
    with ExitStack() as stack:

        def connect(to: Gateway) -> EchoServiceStub:
            own = (("grpc.use_local_subchannel_pool", 1),)
            channel = grpc.insecure_channel(to.address, options=own)
            return EchoServiceStub(stack.enter_context(channel))

        yield connect


def member_of(site: Site, call_id: str) -> int:
    """The process that has the call."""
    eventually(lambda: bool(site.watchers(call_id)), "a gateway watches the call")
    (watcher,) = site.watchers(call_id)
    pid = watcher.partition(f"{os.uname().nodename}.")[2].partition(".")[0]
    return int(pid)


def stream(stub: EchoServiceStub, request: EchoRequest = SLOW) -> tuple[str, Any]:
    call_id = f"process-{uuid.uuid4()}"
    metadata = (("forebay-call-id", call_id),)
    return call_id, stub.ServerStream(request, timeout=TIMEOUT_S, metadata=metadata)


def indexes(responses: Any) -> list[int]:
    return [one.index for one in responses if one.WhichOneof("part") == "text"]


def one_at_each(
    site: Site, gateway: Gateway, connect: Callable[[Gateway], EchoServiceStub]
) -> dict[int, Any]:
    """A call at each of the processes."""
    calls: dict[int, Any] = {}
    for _ in range(_CONNECTIONS):
        call_id, call = stream(connect(gateway))
        if calls.setdefault(member_of(site, call_id), call) is not call:
            call.cancel()
        if calls.keys() == gateway.members():
            return calls
    raise AssertionError(f"calls reached {calls.keys()} of {gateway.members()}")


def gone(pids: set[int]) -> bool:
    return not any(psutil.pid_exists(pid) for pid in pids)


def test_connections_are_spread_over_the_processes(
    site: Site, gateway: Gateway, connected: Callable[[Gateway], EchoServiceStub]
) -> None:
    calls = one_at_each(site, gateway, connected)
    assert len(calls) == PROCESSES
    for call in calls.values():
        assert indexes(call) == list(range(40))


def test_a_killed_process_is_replaced_and_calls_continue(
    site: Site, gateway: Gateway, connected: Callable[[Gateway], EchoServiceStub]
) -> None:
    with forebay.channel(gateway.address) as channel:
        resuming = EchoServiceStub(channel).ServerStream(SLOW, timeout=TIMEOUT_S)
        first = next(resuming)
        killed = member_of(site, dict(resuming.initial_metadata())["forebay-call-id"])
        others = one_at_each(site, gateway, connected)
        before = gateway.members()
        os.kill(killed, signal.SIGKILL)
        assert indexes(chain([first], resuming)) == list(range(40))
    del others[killed]
    for call in others.values():
        assert indexes(call) == list(range(40))
    number = gateway.process.wait_for(
        r"gateway process (\d) ended with code -9; restarting it in 1 s"
    )[1]
    gateway.process.wait_for(f"gateway process {number} was restarted")
    assert killed not in gateway.members()
    assert len(gateway.members() - before) == 1
    for call in one_at_each(site, gateway, connected).values():
        call.cancel()


@pytest.mark.parametrize("whole_group", [False, True])
def test_calls_in_flight_end_before_all_processes_do(
    site: Site, connected: Callable[[Gateway], EchoServiceStub], whole_group: bool
) -> None:
    with running(site, FOREBAY_DRAIN_S="60") as gateway:
        members = gateway.members()
        calls = one_at_each(site, gateway, connected)
        tell: Callable[[int, int], None] = os.killpg if whole_group else os.kill
        tell(gateway.process.popen.pid, signal.SIGTERM)
        for call in calls.values():
            assert indexes(call) == list(range(40))
        assert gateway.process.ended() == 0
        assert gone(members)
        for number in range(PROCESSES):
            assert f"[gateway {number + 1}] INFO" in gateway.process.output
        assert "Traceback" not in gateway.process.output


def test_a_kill_of_the_parent_leaves_no_process(site: Site) -> None:
    with running(site) as gateway:
        members = gateway.members()
        assert len(members) == PROCESSES
        gateway.process.popen.kill()
        eventually(lambda: gone(members), "every process has ended", 20.0)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_port_of_several_processes_is_refused_to_others(
    site: Site, gateway: Gateway, processes: str
) -> None:
    refused(site, gateway.address, processes)
    assert len(gateway.members()) == PROCESSES


def test_several_processes_are_refused_the_port_of_another_gateway(site: Site) -> None:
    refused(site, site.targets(1)[0], "2")


def refused(site: Site, address: str, processes: str) -> None:
    listen = ("--listen", address, "--processes", processes)
    done = run("forebay", "gateway", *listen, env=site.env, cwd=ROOT)
    assert done.code == 1
    assert f"can't listen on {address}: is another gateway there?" in done.err
    assert "Traceback" not in done.err


def test_start_errors_are_reported_when_all_processes_have_ended(site: Site) -> None:
    env = {**site.env, "FOREBAY_SERVICES": '["no.such"]'}
    listen = ("--listen", "127.0.0.1:0", "--processes", "2")
    done = run("forebay", "gateway", *listen, env=env)
    assert done.code == 1
    assert "expected a compiled protobuf module" in done.err
    assert "Traceback" not in done.err


def test_the_activity_is_that_of_all_processes(
    gateway: Gateway, connected: Callable[[Gateway], EchoServiceStub]
) -> None:
    def activity() -> calls_pb2.ReadActivityResponse:
        request = calls_pb2.ReadActivityRequest()
        with grpc.insecure_channel(gateway.address) as channel:
            return CallServiceStub(channel).ReadActivity(request, timeout=TIMEOUT_S)

    def ended() -> int:
        return sum(
            one.ended
            for interval in activity().intervals
            for one in interval.methods
            if one.method == "tests.echo.v1.EchoService.Unary"
        )

    before = ended()
    for _ in range(_CONNECTIONS):
        connected(gateway).Unary(EchoRequest(text="x"), timeout=TIMEOUT_S)
    eventually(lambda: ended() - before == _CONNECTIONS, "each process counts its calls")
    assert ended() - before <= _CONNECTIONS  # less if a process takes too long to answer
    eventually(lambda: activity().processes == PROCESSES, "both answer in time")
