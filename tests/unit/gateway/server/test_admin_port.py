"""The operators' port: HTTP and gRPC on one address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forebay_backends.settings import given_settings
from forebay_gateway.metrics.gateway_metrics import GatewayMetrics
from forebay_gateway.rpc.context import Context, Handler
from forebay_gateway.server.admin_port import AdminServices, admin_port, admin_port_of_processes
from forebay_gateway.server.errors import GatewayError
from forebay_gateway.server.sibling_processes import make_siblings

LARGE = b"x" * (3 << 20)


async def ready() -> bool:
    return True


async def echo(context: Context) -> None:
    while (message := await context.read()) is not grpc.aio.EOF:
        assert isinstance(message, bytes)
        await context.write(message)


async def page(request: Request) -> Response:
    return PlainTextResponse("a page")


def services(process: str = "1") -> AdminServices:
    """An echo for any gRPC method, and a page."""
    handler = Handler(echo, streams_responses=True)
    metrics = GatewayMetrics(["p.S.M"], process)
    return AdminServices(metrics, ready, lambda path: handler, (Route("/page", page),))


async def get(address: str, path: str) -> tuple[int, str]:
    host, _, port = address.rpartition(":")
    if host == "unix":
        reader, writer = await asyncio.open_unix_connection(port)
    else:
        reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


async def echoes(address: str) -> list[bytes]:
    """What comes back of large messages."""
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        call = channel.stream_stream("/p.S/M")(iter([LARGE] * 3), timeout=60)
        return [bytes(message) async for message in call]


@pytest.mark.parametrize("front", ["grpc", "native"])
async def test_one_port_serves_http_and_grpc(front: str) -> None:
    settings = given_settings(admin_listen="127.0.0.1:0", front=front)
    async with admin_port(settings, services()) as address:
        assert await get(address, "/readyz") == (200, "ready\n")
        assert await get(address, "/page") == (200, "a page")
        assert await echoes(address) == [LARGE] * 3
        status, text = await get(address, "/metrics")
        assert status == 200
        assert 'forebay_calls{method="p.S.M",process="1",state="IN_FLIGHT"} 0.0' in text
        status, _ = await get(address, "no path")
        assert status == 400
    with pytest.raises(OSError, match=r"[Cc]onnect"):
        await get(address, "/healthz")


@asynccontextmanager
async def two_processes() -> AsyncIterator[tuple[str, list[str]]]:
    """A parent, and the addresses of the processes, of which only the second runs."""
    with_socket = given_settings(admin_listen="127.0.0.1:0", processes=2)
    async with admin_port_of_processes(with_socket) as (address, addresses):
        of_second = given_settings(admin_listen=addresses[1], processes=2)
        async with admin_port(of_second, services("2")):
            yield address, addresses


async def test_a_parent_answers_for_the_processes_that_are_there() -> None:
    async with two_processes() as (address, addresses):
        for one in (address, addresses[1]):
            _, text = await get(one, "/metrics")
            assert 'process="2"' in text
            assert 'process="1"' not in text
        assert await get(address, "/readyz") == (200, "ready\n")
        assert await get(address, "/page") == (200, "a page"), "by the process"
        assert await echoes(address) == [LARGE] * 3


async def test_processes_get_from_each_other_what_they_share() -> None:
    parent = given_settings(admin_listen="127.0.0.1:0", processes=2)
    async with admin_port_of_processes(parent) as (_, addresses):
        first, second = (given_settings(admin_listen=one, processes=2) for one in addresses)
        siblings = make_siblings(first)
        assert await siblings.ask("numbers", 7) == []
        of_second = make_siblings(second)
        of_second.share("numbers", lambda number: b"from %d" % number)
        async with admin_port(second, replace(services("2"), siblings=of_second)):
            assert await siblings.ask("numbers", 7) == [b"from 7"]
            assert await siblings.ask("letters", 7) == []
            assert await of_second.ask("numbers", 7) == [], "a process does not ask itself"
            assert await get(addresses[1], "/shared/numbers?first=7") == (404, "not found\n")


async def test_a_process_that_is_alone_asks_nobody() -> None:
    assert await make_siblings(given_settings(admin_listen="127.0.0.1:0")).ask("x", 0) == ()


async def test_without_a_process_a_parent_is_alive_and_not_ready() -> None:
    settings = given_settings(admin_listen="127.0.0.1:0", processes=2)
    async with admin_port_of_processes(settings) as (address, _):
        assert await get(address, "/healthz") == (200, "ok\n")
        assert (await get(address, "/readyz"))[0] == 503
        assert (await get(address, "/page"))[0] == 503
        assert (await get(address, "/metrics"))[0] == 200


async def test_a_caller_who_stays_does_not_delay_the_end() -> None:
    settings = given_settings(admin_listen="127.0.0.1:0", front="grpc")
    async with admin_port(settings, services()) as address:
        host, _, port = address.rpartition(":")
        silent = await asyncio.open_connection(host, int(port))
        begun = await asyncio.open_connection(host, int(port))
        begun[1].write(b"GET /metr")
        async with grpc.aio.insecure_channel(address) as channel:
            call = channel.stream_stream("/p.S/M")(timeout=60)
            await call.write(b"x")
            assert await call.read() == b"x"
            loop = asyncio.get_running_loop()
            leaving = loop.time()
    assert loop.time() - leaving < 20
    for _, writer in (silent, begun):
        writer.close()


async def test_an_address_in_use_is_a_clear_error(tmp_path: Path) -> None:
    async with admin_port(given_settings(admin_listen="127.0.0.1:0"), services()) as address:
        with pytest.raises(GatewayError, match=rf"{address}: Address already in use"):
            async with admin_port(given_settings(admin_listen=address), services()):
                pass
