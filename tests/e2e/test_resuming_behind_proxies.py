"""Calls survive the end of their gateway behind nginx, HAProxy and Envoy; each has two gateways."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import forebay
import forebay.aio
from tests.e2e.conftest import Site
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse, Gate
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually
from tests.proxies import NAMES, READ_TIMEOUT_S, proxy

TIMEOUT_S = 60.0
SILENT_S = 2 * READ_TIMEOUT_S + 1.0


@pytest.fixture(
    params=(NAMES[0], *(pytest.param(name, marks=pytest.mark.variant) for name in NAMES[1:]))
)
def address(request: pytest.FixtureRequest, site: Site) -> Iterator[str]:
    """A proxy in front of two gateways."""
    with proxy(request.param, site.targets()) as address:
        yield address


@pytest.fixture
def stub(address: str) -> Iterator[EchoServiceStub]:
    with forebay.channel(address) as channel:
        yield EchoServiceStub(channel)


@pytest.fixture
async def aio_stub(address: str) -> AsyncIterator[Any]:
    async with forebay.aio.channel(address) as channel:
        yield EchoServiceStub(channel)


def named(request: pytest.FixtureRequest) -> tuple[str, tuple[tuple[str, str]]]:
    """A call id for the test, and metadata with that id."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return name, (("forebay-call-id", name),)


def is_running(site: Site, name: str) -> None:
    eventually(lambda: site.field(name, "state") == "RUNNING", "the handler runs")


def test_a_stream_resumes(
    site: Site, stub: EchoServiceStub, request: pytest.FixtureRequest
) -> None:
    name, metadata = named(request)
    wish = EchoRequest(text="x", count=30, seconds=0.05)
    indices = []
    for response in stub.ServerStream(wish, timeout=TIMEOUT_S, metadata=metadata):
        if response.WhichOneof("part") == "text":
            indices.append(response.index)
            if len(indices) == 5:
                site.end_gateway_of(name)
    assert indices == list(range(30))


async def test_a_stream_resumes_over_asyncio(
    site: Site, aio_stub: Any, request: pytest.FixtureRequest
) -> None:
    name, metadata = named(request)
    wish = EchoRequest(text="x", count=30, seconds=0.05)
    indices = []
    async for response in aio_stub.ServerStream(wish, timeout=TIMEOUT_S, metadata=metadata):
        if response.WhichOneof("part") == "text":
            indices.append(response.index)
            if len(indices) == 5:
                await asyncio.to_thread(site.end_gateway_of, name)
    assert indices == list(range(30))


def test_one_response_arrives(
    site: Site, stub: EchoServiceStub, request: pytest.FixtureRequest, gate: Path
) -> None:
    name, metadata = named(request)
    wish = EchoRequest(text="x", gate=Gate(path=str(gate)))
    future = stub.Unary.future(wish, timeout=TIMEOUT_S, metadata=metadata)
    is_running(site, name)
    site.end_gateway_of(name)
    gate.touch()
    assert future.result(TIMEOUT_S).text == "x"


async def test_one_response_arrives_over_asyncio(
    site: Site, aio_stub: Any, request: pytest.FixtureRequest, gate: Path
) -> None:
    name, metadata = named(request)
    wish = EchoRequest(text="x", gate=Gate(path=str(gate)))
    call = aio_stub.Unary(wish, timeout=TIMEOUT_S, metadata=metadata)
    await asyncio.to_thread(is_running, site, name)
    await asyncio.to_thread(site.end_gateway_of, name)
    await asyncio.to_thread(gate.touch)
    assert (await call).text == "x"


def test_an_upload_continues(
    site: Site, stub: EchoServiceStub, request: pytest.FixtureRequest
) -> None:
    name, metadata = named(request)

    def cut() -> Iterator[EchoRequest]:
        for number in range(20):
            if number == 10:
                site.end_gateway_of(name)
            yield EchoRequest(text="x" * 1000)

    response = stub.ClientStream(cut(), timeout=TIMEOUT_S, metadata=metadata)
    assert (len(response.text), response.index) == (20_000, 20)


async def test_an_upload_continues_over_asyncio(
    site: Site, aio_stub: Any, request: pytest.FixtureRequest
) -> None:
    name, metadata = named(request)

    async def cut() -> AsyncIterator[EchoRequest]:
        for number in range(20):
            if number == 10:
                await asyncio.to_thread(site.end_gateway_of, name)
            yield EchoRequest(text="x" * 1000)

    response = await aio_stub.ClientStream(cut(), timeout=TIMEOUT_S, metadata=metadata)
    assert (len(response.text), response.index) == (20_000, 20)


def test_a_live_call_continues(
    site: Site, stub: EchoServiceStub, request: pytest.FixtureRequest
) -> None:
    name, metadata = named(request)
    answered = threading.Semaphore(1)

    def talk() -> Iterator[EchoRequest]:
        for number in range(6):
            answered.acquire(timeout=TIMEOUT_S)
            yield EchoRequest(text=str(number))

    texts = []
    for response in stub.Talk(talk(), timeout=TIMEOUT_S, metadata=metadata):
        texts.append(response.text)
        if len(texts) == 3:
            site.end_gateway_of(name)
        answered.release()
    assert texts == [str(number) for number in range(6)]


async def test_a_live_call_continues_over_asyncio(
    site: Site, aio_stub: Any, request: pytest.FixtureRequest
) -> None:
    name, metadata = named(request)
    call = aio_stub.Talk(timeout=TIMEOUT_S, metadata=metadata)
    texts = []
    for number in range(6):
        await call.write(EchoRequest(text=str(number)))
        response: EchoResponse = await call.read()
        texts.append(response.text)
        if number == 2:
            await asyncio.to_thread(site.end_gateway_of, name)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert texts == [str(number) for number in range(6)]


@pytest.mark.variant
def test_a_stream_that_is_silent_for_longer_than_the_proxys_timeout_resumes(
    stub: EchoServiceStub,
) -> None:
    wish = EchoRequest(text="x", act="sleep", seconds=SILENT_S, count=2)
    responses = list(stub.ServerStream(wish, timeout=TIMEOUT_S))
    indices = [item.index for item in responses if item.WhichOneof("part") == "text"]
    assert indices == [0, 1]


async def test_one_response_later_than_the_proxys_timeout_arrives_over_asyncio(
    aio_stub: Any,
) -> None:
    wish = EchoRequest(text="x", act="sleep", seconds=SILENT_S)
    assert (await aio_stub.Unary(wish, timeout=TIMEOUT_S)).text == "x"


def test_a_handlers_own_status_is_raised_at_once(stub: EchoServiceStub) -> None:
    for code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE):
        wish = EchoRequest(count=1)
        wish.status.code, wish.status.message = code.value[0], "the handler's own"
        with pytest.raises(grpc.RpcError) as raised:
            list(stub.ServerStream(wish, timeout=TIMEOUT_S))
        assert (raised.value.code(), raised.value.details()) == (code, "the handler's own")


def test_the_deadline_bounds_the_attempts(stub: EchoServiceStub) -> None:
    wish = EchoRequest(act="sleep", seconds=30.0)
    with pytest.raises(grpc.RpcError) as raised:
        list(stub.ServerStream(wish, timeout=READ_TIMEOUT_S + 1.0))
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_request_over_the_proxys_limit_fails_at_once(site: Site) -> None:
    with proxy("nginx", site.targets()) as address, forebay.channel(address) as channel:
        wish = EchoRequest(ballast=bytes(1_500_000))
        with pytest.raises(grpc.RpcError) as raised:
            EchoServiceStub(channel).ClientStream(iter([wish]), timeout=TIMEOUT_S)
        assert raised.value.code() is grpc.StatusCode.UNKNOWN
        assert "413" in (raised.value.details() or "")
