"""Calls survive the end of their gateway, from the Python client and from generated stubs."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

import forebay
from tests.e2e.conftest import ROOT, Site
from tests.echo.v1.echo_pb2 import EchoRequest, Gate
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually, free_port, process
from tests.matrices import exact

TIMEOUT_S = 60.0


@pytest.fixture
def stub(site: Site) -> Iterator[EchoServiceStub]:
    with forebay.channel(site.targets()) as channel:
        yield EchoServiceStub(channel)


def call_id(call: Any) -> str:
    return str(dict(call.initial_metadata())["forebay-call-id"])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stream_resumes_when_its_gateway_ends(
    site: Site, stub: EchoServiceStub, number: int
) -> None:
    request = EchoRequest(text="x", count=40, seconds=0.05, padding=1000)
    call = stub.ServerStream(request, timeout=TIMEOUT_S)
    indices = []
    for response in call:
        if response.WhichOneof("part") == "text":
            indices.append(response.index)
            assert len(response.padding) == 1000
            if len(indices) == 5:
                site.end_gateway_of(call_id(call), number)
    assert indices == list(range(40))
    assert call.code() is grpc.StatusCode.OK
    assert dict(call.trailing_metadata())["forebay-attempts"] == "1"


def test_a_stream_resumes_more_than_once(site: Site) -> None:
    targets = site.targets(3)
    with forebay.channel(targets) as channel:
        call = EchoServiceStub(channel).ServerStream(
            EchoRequest(text="x", count=30, seconds=0.05), timeout=TIMEOUT_S
        )
        indices = []
        for response in call:
            if response.WhichOneof("part") == "text":
                indices.append(response.index)
                if len(indices) in (5, 15):
                    site.end_gateway_of(call_id(call))
    assert indices == list(range(30))


def test_a_slow_reader_of_large_items_gets_each_once(site: Site, stub: EchoServiceStub) -> None:
    call = stub.ServerStream(EchoRequest(count=60, padding=200_000), timeout=TIMEOUT_S)
    first = next(call)
    site.end_gateway_of(call_id(call))
    assert [first.index, *(response.index for response in call)] == list(range(60))


def test_one_response_arrives_when_its_gateway_ends(
    site: Site, stub: EchoServiceStub, gate: Path
) -> None:
    answers: list[str] = []

    def call() -> None:
        request = EchoRequest(text="x", gate=Gate(path=str(gate)))
        metadata = (("forebay-call-id", "one-response"),)
        answers.append(stub.Unary(request, timeout=TIMEOUT_S, metadata=metadata).text)

    thread = threading.Thread(target=call)
    thread.start()
    eventually(lambda: site.field("one-response", "state") == "RUNNING", "the handler runs")
    site.end_gateway_of("one-response")
    gate.touch()
    thread.join()
    assert answers == ["x"]
    assert site.field("one-response", "attempt") == "1"


def test_a_future_response_arrives_when_its_gateway_ends(
    site: Site, stub: EchoServiceStub, gate: Path
) -> None:
    request = EchoRequest(text="x", gate=Gate(path=str(gate)))
    metadata = (("forebay-call-id", "future"),)
    future = stub.Unary.future(request, timeout=TIMEOUT_S, metadata=metadata)
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    site.end_gateway_of("future")
    assert future.running()
    with pytest.raises(grpc.FutureTimeoutError):
        future.result(timeout=0.01)
    gate.touch()
    assert future.result(timeout=TIMEOUT_S).text == "x"
    assert done.wait(TIMEOUT_S)
    assert future.done()
    assert future.code() is grpc.StatusCode.OK


def test_the_client_returns_all_digits_when_its_gateway_ends(site: Site) -> None:
    with forebay.connect(",".join(site.targets())) as client:
        name = "digits-of-a-million"
        pieces = client.factorial_digits(1_000_000, timeout=TIMEOUT_S, call_id=name)
        digits = [next(pieces)]
        site.end_gateway_of(name)
        digits += pieces
        assert len("".join(digits)) == 5_565_709
        with forebay.connect(site.gateway().address) as other:
            assert "".join(other.factorial_digits(1_000_000, timeout=TIMEOUT_S)) == "".join(digits)


def test_ephemeral_calls_are_retried_if_they_may_run_again(site: Site) -> None:
    targets = site.targets()
    with forebay.connect(targets) as client:
        for number in range(20):
            if number == 10:
                site.end(targets[0])
            assert client.add(number, 1, timeout=TIMEOUT_S) == number + 1


def test_a_call_resumes_on_a_gateway_that_restarts_on_its_port(site: Site) -> None:
    listen = f"127.0.0.1:{free_port()}"
    first = site.gateway(listen)
    with forebay.channel(listen) as channel:
        call = EchoServiceStub(channel).ServerStream(
            EchoRequest(text="x", count=40, seconds=0.05), timeout=TIMEOUT_S
        )
        indices = []
        for response in call:
            if response.WhichOneof("part") == "text":
                indices.append(response.index)
                if len(indices) == 5:
                    first.end()
                    site.gateway(listen)
    assert indices == list(range(40))


def test_the_deadline_bounds_all_attempts(site: Site) -> None:
    gateway = site.gateway()
    with forebay.channel(gateway.address) as channel:
        call = EchoServiceStub(channel).ServerStream(
            EchoRequest(text="x", act="sleep", seconds=60), timeout=3.0
        )
        call.initial_metadata()
        gateway.end()
        begun = time.monotonic()
        with pytest.raises(grpc.RpcError) as raised:
            next(call)
        assert time.monotonic() - begun < TIMEOUT_S / 2  # the handler takes longer
        unavailable = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        assert raised.value.code() in unavailable
        assert not call.is_active()


def test_without_resuming_the_caller_gets_the_failure(site: Site) -> None:
    with forebay.channel(site.targets(), resume=False) as channel:
        call = EchoServiceStub(channel).ServerStream(
            EchoRequest(text="x", count=40, seconds=0.05), timeout=TIMEOUT_S
        )
        next(call)
        site.end_gateway_of(call_id(call))
        with pytest.raises(grpc.RpcError) as raised:
            list(call)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_stored_outcome_is_raised_at_once(site: Site, stub: EchoServiceStub) -> None:
    begun = time.monotonic()
    with pytest.raises(grpc.RpcError) as raised:
        stub.Unary(EchoRequest(act="abort"), timeout=TIMEOUT_S)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as raised:
        stub.Unary(EchoRequest(act="unavailable"), timeout=TIMEOUT_S)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert time.monotonic() - begun < TIMEOUT_S / 2


def test_the_status_is_that_of_the_last_attempt_if_no_response_is_read(
    site: Site, stub: EchoServiceStub, gate: Path
) -> None:
    call = stub.ServerStream(EchoRequest(gate=Gate(path=str(gate))), timeout=TIMEOUT_S)
    site.end_gateway_of(call_id(call))
    gate.touch()
    assert call.code() is grpc.StatusCode.OK
    assert list(call) == []


def test_calls_are_spread_over_all_targets(site: Site) -> None:
    targets = site.targets()
    with forebay.channel(targets) as channel:
        stub = EchoServiceStub(channel)
        peers = set()
        for _ in range(4):
            call = stub.ServerStream(EchoRequest(count=1, seconds=0.5), timeout=TIMEOUT_S)
            peers |= site.watchers(call_id(call))
            list(call)
    assert len(peers) == 2


def test_a_product_is_right_when_a_gateway_ends_during_the_upload(site: Site) -> None:
    generator = np.random.default_rng(4)
    a, b = exact(generator, 600, 500), exact(generator, 500, 600)
    with forebay.connect(site.targets()) as client:
        killer = threading.Thread(target=site.end_gateway_of, args=("product",))
        killer.start()
        product = client.matmul(a, b, timeout=TIMEOUT_S, call_id="product")
        killer.join()
    assert np.array_equal(product, a @ b)


@pytest.mark.parametrize("resume", [True, False])
def test_the_command_resumes_unless_no_resume_is_given(site: Site, resume: bool) -> None:
    name = f"from-the-shell-{resume}"
    command = ["forebay", "call", "-t", ",".join(site.targets()), "--id", name, "--service"]
    fields = ["tests.echo.v1.echo_pb2", "ServerStream", "text=x", "count=40", "seconds=0.05"]
    options = [] if resume else ["--no-resume"]
    with process(*command, *fields, *options, env=site.env, cwd=ROOT) as run:
        run.wait_for('"index": 5')
        site.end_gateway_of(name)
        assert run.ended() == (0 if resume else 1)
    assert ("UNAVAILABLE" in run.output) is not resume
    if resume:
        indices = [json.loads(line).get("index", 0) for line in run.output.splitlines()]
        assert indices == list(range(40))
