"""Request streams of the Python client continue on another gateway when theirs ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest

import forebay
import forebay.aio
from tests.e2e.conftest import Site
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually, free_port

TIMEOUT_S = 60.0
COUNT = 20
TEXT = "".join(chr(ord("a") + number) for number in range(COUNT))


def requests() -> Iterator[EchoRequest]:
    return (EchoRequest(text=letter) for letter in TEXT)


def received(site: Site, call_id: str, count: int) -> bool:
    """Whether the ledger has at least that many requests of the call."""
    return int(site.field(call_id, "request_count") or 0) >= count


def test_the_requests_of_an_iterator_are_sent_again(site: Site) -> None:
    def cut() -> Iterator[EchoRequest]:
        for number, request in enumerate(requests()):
            if number == 10:
                eventually(lambda: received(site, "once", 10), "ten requests are received")
                site.end_gateway_of("once")
            yield request

    with forebay.channel(site.targets()) as channel:
        response = EchoServiceStub(channel).ClientStream(
            cut(), timeout=TIMEOUT_S, metadata=(("forebay-call-id", "once"),)
        )
    assert (response.text, response.index) == (TEXT, COUNT)


async def test_the_requests_of_an_async_iterator_are_sent_again(site: Site) -> None:
    async def cut() -> AsyncIterator[EchoRequest]:
        for number, request in enumerate(requests()):
            if number == 10:
                await asyncio.to_thread(
                    eventually, lambda: received(site, "once-async", 10), "ten are received"
                )
                await asyncio.to_thread(site.end_gateway_of, "once-async")
            yield request

    async with forebay.aio.channel(site.targets()) as channel:
        response = await EchoServiceStub(channel).ClientStream(
            cut(), timeout=TIMEOUT_S, metadata=(("forebay-call-id", "once-async"),)
        )
    assert (response.text, response.index) == (TEXT, COUNT)


async def test_a_call_survives_a_connection_that_breaks_while_it_sends_a_request(
    site: Site,
) -> None:
    async def stream() -> AsyncIterator[EchoRequest]:
        ending = None
        for number in range(600):  # enough that some are in flight when the gateway ends
            if number == 100:
                ending = asyncio.create_task(asyncio.to_thread(site.end_gateway_of, "flood"))
            yield EchoRequest(text="x" * 2000)
            await asyncio.sleep(0)
        assert ending is not None
        await ending

    async with forebay.aio.channel(site.targets()) as channel:
        response = await EchoServiceStub(channel).ClientStream(
            stream(), timeout=TIMEOUT_S, metadata=(("forebay-call-id", "flood"),)
        )
    assert (len(response.text), response.index) == (600 * 2000, 600)


async def test_requests_that_are_written_one_by_one_are_sent_again(site: Site) -> None:
    metadata = (("forebay-call-id", "written"),)
    async with forebay.aio.channel(site.targets()) as channel:
        call = EchoServiceStub(channel).Bidi(timeout=TIMEOUT_S, metadata=metadata)
        for number, request in enumerate(requests()):
            await call.write(request)
            if number == 10:
                await asyncio.to_thread(
                    eventually, lambda: received(site, "written", 5), "some are received"
                )
                await asyncio.to_thread(site.end_gateway_of, "written")
        await call.done_writing()
        with pytest.raises(asyncio.InvalidStateError):
            await call.write(EchoRequest())
        assert "".join([response.text async for response in call]) == TEXT


def test_an_iterator_that_raises_ends_the_call(site: Site) -> None:
    def broken() -> Iterator[EchoRequest]:
        yield EchoRequest(text="a")
        raise RuntimeError("no more")

    with forebay.channel(site.targets()) as channel, pytest.raises(grpc.RpcError) as raised:
        EchoServiceStub(channel).ClientStream(broken(), timeout=TIMEOUT_S)
    assert raised.value.code() is grpc.StatusCode.UNKNOWN


def test_a_stream_without_requests_is_served(site: Site) -> None:
    with forebay.channel(site.targets()) as channel:
        stub = EchoServiceStub(channel)
        assert stub.ClientStream(iter([]), timeout=TIMEOUT_S).index == 0
        assert list(stub.Bidi([], timeout=TIMEOUT_S)) == []  # type: ignore[call-overload]


@pytest.mark.parametrize("method", ["ClientStream", "Bidi"])
async def test_a_call_whose_connection_breaks_while_its_requests_end_is_retried(
    caplog: pytest.LogCaptureFixture, method: str
) -> None:
    """`grpc.aio` itself cancels an attempt of ClientStream here; see docs/upstream.md."""
    caplog.set_level("INFO", "forebay.resume.attempts")
    async with forebay.aio.channel(f"127.0.0.1:{free_port()}") as channel:
        call = getattr(EchoServiceStub(channel), method)([], timeout=1.0)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await (call if method == "ClientStream" else call.read())
        assert raised.value.code() is await call.code()
        assert await call.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        assert not call.cancelled()
    retries = [line for line in caplog.messages if line.startswith("retrying")]
    assert retries
    assert all("UNAVAILABLE" in line for line in retries)


@pytest.mark.parametrize("is_repeatable", [False, True])
async def test_an_async_iterator_that_raises_ends_the_call(
    site: Site, *, is_repeatable: bool
) -> None:
    begun: list[None] = []

    class Broken:
        def __iter__(self) -> Iterator[EchoRequest]:
            begun.append(None)
            yield EchoRequest(text="a")
            raise RuntimeError("no more")

    async with forebay.aio.channel(site.targets()) as channel:
        requests = Broken() if is_repeatable else iter(Broken())
        call = EchoServiceStub(channel).ClientStream(requests, timeout=TIMEOUT_S)  # type: ignore[arg-type]
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await call.code() is grpc.StatusCode.CANCELLED
    assert len(begun) == 1
