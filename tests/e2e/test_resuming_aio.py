"""As test_resuming, over asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest

import forebay.aio
from tests.e2e.conftest import Site
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse, Gate
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually, free_port
from tests.matrices import exact

TIMEOUT_S = 60.0


@pytest.fixture
async def channel(site: Site) -> AsyncIterator[grpc.aio.Channel]:
    async with forebay.aio.channel(site.targets()) as channel:
        yield channel


async def call_id(call: grpc.aio.Call) -> str:
    return str(dict(await call.initial_metadata())["forebay-call-id"])


async def read_all(call: grpc.aio.UnaryStreamCall[EchoRequest, EchoResponse]) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def end_gateway_of(site: Site, name: str) -> None:
    await asyncio.to_thread(site.end_gateway_of, name)


async def test_a_stream_resumes_when_its_gateway_ends(
    site: Site, channel: grpc.aio.Channel
) -> None:
    request = EchoRequest(text="x", count=40, seconds=0.05)
    call = EchoServiceStub(channel).ServerStream(request, timeout=TIMEOUT_S)
    over: list[object] = []
    call.add_done_callback(over.append)
    indices = []
    async for response in call:
        if response.WhichOneof("part") == "text":
            indices.append(response.index)
            if len(indices) == 5:
                await end_gateway_of(site, await call_id(call))
    assert indices == list(range(40))
    assert await call.code() is grpc.StatusCode.OK
    assert over == [call]
    assert await call.read() is grpc.aio.EOF


async def test_one_response_arrives_when_its_gateway_ends(
    site: Site, channel: grpc.aio.Channel, gate: Path
) -> None:
    metadata = (("forebay-call-id", "one-async"),)
    request = EchoRequest(text="x", gate=Gate(path=str(gate)))
    call = EchoServiceStub(channel).Unary(request, timeout=TIMEOUT_S, metadata=metadata)
    await end_gateway_of(site, "one-async")
    assert not call.done()
    await asyncio.to_thread(gate.touch)
    assert (await call).text == "x"
    assert (await call).text == "x"  # may be awaited again
    assert await call.code() is grpc.StatusCode.OK
    assert call.done()


async def test_the_status_is_that_of_the_last_attempt_if_no_response_is_read(
    site: Site, channel: grpc.aio.Channel, gate: Path
) -> None:
    request = EchoRequest(gate=Gate(path=str(gate)))
    call = EchoServiceStub(channel).ServerStream(request, timeout=TIMEOUT_S)
    await end_gateway_of(site, await call_id(call))
    await asyncio.to_thread(gate.touch)
    assert await call.code() is grpc.StatusCode.OK
    assert [response async for response in call] == []


async def test_the_client_returns_the_product_when_its_gateway_ends(site: Site) -> None:
    generator = np.random.default_rng(4)
    a, b = exact(generator, 600, 500), exact(generator, 500, 600)
    async with forebay.aio.connect(site.targets()) as client:
        product, _ = await asyncio.gather(
            client.matmul(a, b, timeout=TIMEOUT_S, call_id="product-async"),
            end_gateway_of(site, "product-async"),
        )
        assert np.array_equal(product, a @ b)
        assert await client.add(1, 2, timeout=TIMEOUT_S) == 3


async def test_a_call_resumes_on_a_gateway_that_restarts_on_its_port(site: Site) -> None:
    listen = f"127.0.0.1:{free_port()}"
    first = await asyncio.to_thread(site.gateway, listen)
    async with forebay.aio.channel(listen) as channel:
        call = EchoServiceStub(channel).ServerStream(
            EchoRequest(text="x", count=40, seconds=0.05), timeout=TIMEOUT_S
        )
        indices = []
        async for response in call:
            if response.WhichOneof("part") == "text":
                indices.append(response.index)
                if len(indices) == 5:
                    await asyncio.to_thread(first.end)
                    await asyncio.to_thread(site.gateway, listen)
    assert indices == list(range(40))


async def test_the_deadline_bounds_all_attempts(site: Site) -> None:
    gateway = await asyncio.to_thread(site.gateway)
    async with forebay.aio.channel(gateway.address) as channel:
        call = EchoServiceStub(channel).Unary(
            EchoRequest(act="sleep", seconds=60), timeout=5.0, metadata=(("forebay-call-id", "b"),)
        )
        await asyncio.to_thread(
            eventually, lambda: site.field("b", "state") == "RUNNING", "the handler runs"
        )
        await asyncio.to_thread(gateway.end)
        async with asyncio.timeout(TIMEOUT_S / 2):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call
        unavailable = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        assert raised.value.code() in unavailable


async def test_without_resuming_the_caller_gets_the_failure(site: Site) -> None:
    async with forebay.aio.channel(site.targets(), resume=False) as channel:
        call = EchoServiceStub(channel).ServerStream(
            EchoRequest(text="x", count=40, seconds=0.05), timeout=TIMEOUT_S
        )
        await call.read()
        await end_gateway_of(site, await call_id(call))
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await read_all(call)
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_call_can_be_cancelled_while_it_waits_for_a_retry(site: Site) -> None:
    async with forebay.aio.channel(f"127.0.0.1:{free_port()}") as channel:
        call = EchoServiceStub(channel).Unary(EchoRequest(), timeout=TIMEOUT_S)
        asyncio.get_running_loop().call_later(0.5, call.cancel)
        with pytest.raises(asyncio.CancelledError):
            await call
        assert call.cancelled()


async def test_a_channel_is_ready_when_one_of_its_targets_is(site: Site) -> None:
    (address,) = site.targets(1)
    async with forebay.aio.channel([f"127.0.0.1:{free_port()}", address]) as channel:
        async with asyncio.timeout(TIMEOUT_S):
            await channel.channel_ready()
        assert channel.get_state() is grpc.ChannelConnectivity.READY
