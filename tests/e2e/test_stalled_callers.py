"""Callers that stop reading: they hold a worker's slot for the stall limit only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import grpc
import pytest
import redis

from forebay.errors import CallerStalled
from forebay.metadata import CALL_ID, ON_DISCONNECT, RESUME_FROM
from forebay.rpc_errors import of_rpc_error
from forebay_backends.ledger.keys import CallKey
from tests.contract.records import parse_watches
from tests.e2e.known_calls import new_id
from tests.echo.running import ROOT
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import (
    environment,
    eventually,
    forebay_gateway,
    narrow_channel,
    process,
    short_folder,
)

TIMEOUT_S = 60.0
STALL_S = 2.0
SLOTS = 2
LARGE = EchoRequest(text="x", count=60, padding=100_000)


class Echo:
    """A gateway and a worker of two slots; callers have small flow control windows."""

    def __init__(self, address: str, data_dir: str) -> None:
        self.channel = narrow_channel(address)
        self.stub = EchoServiceStub(self.channel)
        self.ledger = redis.Redis(unix_socket_path=f"{data_dir}/ledger.sock")

    def field(self, call_id: str, name: str) -> str:
        call = CallKey(call_id)
        return (self.ledger.hget(f"{call.partition}:call:{call}", name) or b"").decode()

    def close(self) -> None:
        self.channel.close()
        self.ledger.close()


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with short_folder() as folder:
        env = environment(
            FOREBAY_DATA_DIR=str(folder / "data"),
            FOREBAY_SERVICES='["tests.echo.v1.echo_pb2"]',
            FOREBAY_WINDOW_BYTES="1000000",
            FOREBAY_STALL_S=str(STALL_S),
        )
        command = ["celery", "-A", "tests.echo.worker", "worker", "-Q", "echo", "-l", "INFO"]
        options = ["--pool", "threads", "--concurrency", str(SLOTS), "--without-mingle"]
        with (
            forebay_gateway(env=env, cwd=ROOT) as (_, address),
            process(*command, *options, "--without-gossip", env=env, cwd=ROOT) as worker,
            closing(Echo(address, str(folder / "data"))) as echo,
        ):
            worker.wait_for(r" ready\.")
            yield echo


def rest_of(call: Any) -> tuple[int, CallerStalled]:
    """How many more items a stalled caller gets when it reads again, and the error."""
    count = 0
    try:
        for _ in call:
            count += 1
    except grpc.RpcError as failure:
        error = of_rpc_error(failure)
    else:
        raise AssertionError("the call ended well")
    assert isinstance(error, CallerStalled), error
    assert (error.code_name, error.retry_may_help) == ("ABORTED", True)
    return count, error


def test_callers_that_stop_reading_give_their_slots_back(echo: Echo) -> None:
    stalled = [echo.stub.ServerStream(LARGE, timeout=TIMEOUT_S) for _ in range(SLOTS)]
    for call in stalled:
        next(call)
    assert echo.stub.Unary(EchoRequest(text="next"), timeout=TIMEOUT_S).text == "next"
    for call in stalled:
        call_id = dict(call.initial_metadata())[CALL_ID]
        _, error = rest_of(call)
        assert call_id in error.message
        eventually(
            lambda call_id=call_id: echo.field(call_id, "state") == "CANCELLED",
            "the call is cancelled: its caller counts as disconnected",
        )


def test_a_detached_call_continues_without_its_stalled_caller_and_can_be_resumed(
    echo: Echo,
) -> None:
    call_id = new_id()
    metadata = [(CALL_ID, call_id), (ON_DISCONNECT, "detach")]
    call = echo.stub.Detached(LARGE, timeout=TIMEOUT_S, metadata=metadata)
    next(call)
    eventually(lambda: echo.field(call_id, "state") == "SUCCEEDED", "the call ends by itself")
    count, _ = rest_of(call)
    received = 1 + count
    assert received < LARGE.count
    resumed = echo.stub.Detached(
        LARGE,
        timeout=TIMEOUT_S,
        metadata=[(CALL_ID, call_id), (RESUME_FROM, str(received)), (ON_DISCONNECT, "detach")],
    )
    assert [item.index for item in resumed] == list(range(received, LARGE.count))


def test_a_caller_with_an_id_resumes_within_the_linger(echo: Echo) -> None:
    call_id = new_id()
    call = echo.stub.ServerStream(LARGE, timeout=TIMEOUT_S, metadata=[(CALL_ID, call_id)])
    next(call)
    eventually(
        lambda: bool(echo.field(call_id, "abandoned_at")), "the caller counts as disconnected"
    )
    count, _ = rest_of(call)
    resumed = echo.stub.ServerStream(
        LARGE,
        timeout=TIMEOUT_S,
        metadata=[(CALL_ID, call_id), (RESUME_FROM, str(1 + count))],
    )
    assert [item.index for item in resumed] == list(range(1 + count, LARGE.count))


def test_a_slow_caller_that_keeps_reading_is_served(echo: Echo) -> None:
    call_id = new_id()
    call = echo.stub.ServerStream(LARGE, timeout=TIMEOUT_S, metadata=[(CALL_ID, call_id)])
    next(call)
    eventually(lambda: bool(echo.field(call_id, "credit_wait_since")), "the handler waits")
    stalled_at = time.monotonic() + STALL_S
    indices = [0]
    for item in call:
        indices.append(item.index)
        if len(indices) < LARGE.count // 2:
            # This sleep is the slow caller that the test needs.
            time.sleep(STALL_S / 20)
    assert time.monotonic() > stalled_at
    assert indices == list(range(LARGE.count))


def test_a_caller_that_no_handler_waits_for_may_read_at_any_time(echo: Echo) -> None:
    request = EchoRequest(text="x", count=8, padding=100_000)
    call_id = new_id()
    call = echo.stub.ServerStream(request, timeout=TIMEOUT_S, metadata=[(CALL_ID, call_id)])
    next(call)
    eventually(lambda: echo.field(call_id, "state") == "SUCCEEDED", "the handler has ended")
    renewed = echo.ledger.time()[0]

    def is_renewed_twice() -> bool:
        (lease,) = parse_watches(echo.field(call_id, "watchers")).values()
        return bool(lease / 1000 > renewed + 15 + 2 * STALL_S)

    eventually(is_renewed_twice, "the gateway has read the call's state since")
    assert [item.index for item in call] == list(range(1, 8))
