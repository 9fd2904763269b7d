"""A gateway that ends, by SIGTERM or SIGKILL: its calls continue elsewhere, complete and once."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.scripts import LEASE_S
from tests.echo.gates import Gates
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.faults.backend import Server, server
from tests.faults.echoes import (
    TIMEOUT_S,
    Gateway,
    begun,
    error_of,
    gateway,
    id_of,
    indexes,
    named,
    rest_and_error,
    slow,
    take,
    worker,
)
from tests.harness import Process, eventually

DRAINING = ("UNAVAILABLE", "DRAINING")


@pytest.fixture(scope="module")
def ledger() -> Iterator[Server]:
    with server() as running:
        yield running


@pytest.fixture(scope="module")
def echo(ledger: Server) -> Iterator[Process]:
    """The worker."""
    with worker(FOREBAY_LEDGER_URL=ledger.url) as running:
        yield running


Start = Callable[..., Gateway]


@pytest.fixture
def start(ledger: Server, echo: Process) -> Iterator[Start]:
    """Starts a gateway; it serves when it is returned."""
    with ExitStack() as stack:

        def start(drain_s: float = 0.0) -> Gateway:
            started = stack.enter_context(
                gateway(FOREBAY_LEDGER_URL=ledger.url, FOREBAY_DRAIN_S=str(drain_s))
            )
            eventually(started.serving, "the gateway serves")
            return started

        yield start


def tell_to_end(ending: Gateway, number: int = signal.SIGTERM) -> None:
    ending.process.popen.send_signal(number)


def is_refused(gateway: Gateway) -> bool:
    call = gateway.stub.Quick.future(EchoRequest(text="late"), timeout=TIMEOUT_S)
    return call.exception(TIMEOUT_S) is not None


def resumed(on: Gateway, call_id: str, request: EchoRequest, seen: int) -> Any:
    return on.stub.ServerStream(request, timeout=TIMEOUT_S, metadata=named(call_id, seen))


@pytest.mark.parametrize("own_id", [True, False], ids=["caller's id", "gateway's id"])
def test_an_interrupted_stream_continues_at_another_gateway(
    start: Start, echo: Process, own_id: bool
) -> None:
    one, other = start(), start()
    request = slow(100)
    stream = one.stub.ServerStream(
        request, timeout=TIMEOUT_S, metadata=named(f"cut-{uuid.uuid4()}") if own_id else ()
    )
    call_id = id_of(stream)
    seen = take(stream, 10)
    tell_to_end(one)
    more, error = rest_and_error(stream)
    assert (error.code_name, error.reason) == DRAINING
    assert error.retry_after_s is not None
    seen = seen + more
    assert one.process.ended() == 0
    rest = list(resumed(other, call_id, request, len(indexes(seen))))
    assert indexes(seen + rest) == list(range(100))
    assert begun(echo, call_id) == 1


def test_only_ephemeral_calls_that_may_run_twice_are_to_be_retried(
    start: Start, tmp_path: Path
) -> None:
    one, gates = start(), Gates(tmp_path)
    calls = {method: gates.call(one.stub, method, method) for method in ("Quick", "QuickAgain")}
    eventually(lambda: len(gates.begun()) == len(calls), "the handlers have begun")
    tell_to_end(one)
    errors = {method: error_of(call) for method, call in calls.items()}
    for method in calls:
        gates.open(method)
    assert {(error.code_name, error.reason) for error in errors.values()} == {DRAINING}
    assert errors["Quick"].retry_after_s is None
    assert errors["QuickAgain"].retry_after_s is not None


def test_during_a_drain_calls_in_flight_finish_and_new_ones_are_refused(
    start: Start,
) -> None:
    draining = start(drain_s=60.0)
    stream = draining.stub.ServerStream(slow(40), timeout=TIMEOUT_S)
    seen = take(stream, 1)
    tell_to_end(draining)
    eventually(draining.draining, "health is NOT_SERVING at once")
    eventually(lambda: is_refused(draining), "it takes in no more calls")
    for refused in (
        draining.stub.Unary.future(EchoRequest(text="late"), timeout=TIMEOUT_S),
        draining.stub.Quick.future(EchoRequest(text="late"), timeout=TIMEOUT_S),
        draining.stub.Bidi(iter([EchoRequest(text="late")]), timeout=TIMEOUT_S),
        resumed(draining, id_of(stream), slow(40), 1),
    ):
        # gRPC cancels a call that crosses the GOAWAY; the client's later ones find the port closed.
        assert error_of(refused).code_name in ("UNAVAILABLE", "CANCELLED")
    assert indexes(seen + list(stream)) == list(range(40))
    assert draining.process.ended() == 0, "and it does not wait for longer than for them"


def test_a_caller_that_does_not_read_does_not_delay_the_end(start: Start, echo: Process) -> None:
    one, other = start(), start()
    request = EchoRequest(text="large", count=60, padding=100_000)
    stream = one.stub.ServerStream(request, timeout=TIMEOUT_S)
    call_id = id_of(stream)
    seen = take(stream, 1)
    tell_to_end(one)
    assert one.process.ended() == 0
    more, error = rest_and_error(stream)
    assert error.code_name == "UNAVAILABLE"
    seen = seen + more
    rest = list(resumed(other, call_id, request, len(indexes(seen))))
    assert indexes(seen + rest) == list(range(60))
    assert begun(echo, call_id) == 1


def test_a_caller_that_is_still_sending_gets_the_error(start: Start, ledger: Server) -> None:
    one, call = start(), CallKey(f"sending-{uuid.uuid4()}")

    def requests() -> Iterator[EchoRequest]:
        yield EchoRequest(text="first")
        one.process.popen.wait(TIMEOUT_S)

    sending = one.stub.ClientStream.future(requests(), timeout=TIMEOUT_S, metadata=named(call.id))
    record = f"{call.partition}:call:{call}"
    eventually(lambda: ledger.client.exists(record) == 1, "the first request has arrived")
    tell_to_end(one)
    error = error_of(sending)
    assert (error.code_name, error.reason) == DRAINING


def test_a_second_signal_ends_it_at_once_and_the_call_continues_elsewhere(
    start: Start, echo: Process
) -> None:
    one, other = start(drain_s=600.0), start()
    request = slow(100)
    stream = one.stub.ServerStream(request, timeout=TIMEOUT_S)
    call_id = id_of(stream)
    seen = take(stream, 5)
    tell_to_end(one)
    eventually(one.draining, "it drains")
    tell_to_end(one)
    assert one.process.ended() == -signal.SIGTERM
    more, error = rest_and_error(stream)
    assert error.code_name == "UNAVAILABLE"
    seen = seen + more
    rest = list(resumed(other, call_id, request, len(indexes(seen))))
    assert indexes(seen + rest) == list(range(100))
    assert begun(echo, call_id) == 1


@pytest.mark.variant
def test_a_killed_gateways_watch_expires_and_a_resumed_call_continues(
    start: Start, echo: Process
) -> None:
    one, other = start(), start()
    request = slow(round((LEASE_S + 6) / 0.1), 0.1)
    stream = one.stub.ServerStream(request, timeout=TIMEOUT_S)
    abandoned = one.stub.ServerStream(request, timeout=TIMEOUT_S)
    call_id, abandoned_id = id_of(stream), id_of(abandoned)
    seen = take(stream, 5)
    tell_to_end(one, signal.SIGKILL)
    more, error = rest_and_error(stream)
    assert error.code_name == "UNAVAILABLE"
    seen = seen + more
    rest = list(resumed(other, call_id, request, len(indexes(seen))))
    assert indexes(seen + rest) == list(range(request.count))
    assert begun(echo, call_id) == 1
    late = resumed(other, abandoned_id, request, 0)
    with pytest.raises(grpc.RpcError) as raised:
        list(late)
    assert raised.value.code() is grpc.StatusCode.CANCELLED, "nobody came back for this one"


def test_calls_to_a_gateway_that_has_ended_fail_at_once(start: Start) -> None:
    one = start()
    assert one.stub.Unary(EchoRequest(text="a"), timeout=TIMEOUT_S).text == "a"
    tell_to_end(one)
    assert one.process.ended() == 0
    began = time.monotonic()
    for _ in range(3):
        error = error_of(one.stub.Unary.future(EchoRequest(text="b"), timeout=TIMEOUT_S))
        assert error.code_name == "UNAVAILABLE"
    assert time.monotonic() - began < TIMEOUT_S / 2
