"""As test_calls_as_grpcs, over asyncio."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import grpc
import pytest

import forebay.aio
from tests.e2e.conftest import Site
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub

TIMEOUT_S = 30.0
LONG = EchoRequest(act="sleep", seconds=60, count=1)
ABORT = EchoRequest(act="abort", count=1)
OK = EchoRequest(text="x", count=2)

Start = Callable[..., Any]


async def fresh_token() -> str:
    return "fresh"


@pytest.fixture(params=["grpc", "forebay", pytest.param("token", marks=pytest.mark.variant)])
async def stub(request: pytest.FixtureRequest, site: Site) -> AsyncIterator[Any]:
    (address,) = await asyncio.to_thread(site.targets, 1)
    dials: dict[str, Any] = {
        "grpc": grpc.aio.insecure_channel,
        "forebay": forebay.aio.channel,
        "token": partial(forebay.aio.channel, token=fresh_token),
    }
    async with dials[request.param](address) as channel:
        yield EchoServiceStub(channel)


@pytest.fixture(params=["Unary", "ServerStream"])
def start(request: pytest.FixtureRequest, stub: Any) -> Start:
    """Starts a call with one response, or one with a stream of responses."""

    def call(wish: EchoRequest, timeout: float | None = TIMEOUT_S) -> Any:
        return getattr(stub, request.param)(wish, timeout=timeout)

    return call


async def end(call: Any) -> None:
    """Awaits or reads the call."""
    if hasattr(call, "__await__"):
        await call
    else:
        while await call.read() is not grpc.aio.EOF:
            pass


async def test_a_success(start: Start) -> None:
    call = start(OK)
    await end(call)
    assert await call.code() is grpc.StatusCode.OK
    assert await call.details() == ""
    assert "forebay-call-id" in dict(await call.initial_metadata())
    assert "forebay-attempts" in dict(await call.trailing_metadata())
    assert await call.debug_error_string() == ""
    assert (call.done(), call.cancelled(), call.cancel()) == (True, False, False)


async def test_a_failure(start: Start) -> None:
    call = start(ABORT)
    for _ in range(2):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await end(call)
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert await call.code() is grpc.StatusCode.NOT_FOUND
    assert await call.details() == "no such ☃"
    assert "grpc-status-details-bin" in dict(await call.trailing_metadata())
    assert "no such" in await call.debug_error_string()
    assert (call.done(), call.cancelled(), call.cancel()) == (True, False, False)
    # gRPC's own call with an interceptor, as the one that adds tokens, does not say.
    assert "no such ☃" in repr(call) or "Intercepted" in repr(call)


async def test_a_stream_is_iterated_once(stub: Any) -> None:
    call = stub.ServerStream(OK, timeout=TIMEOUT_S)
    assert [item.index async for item in call if item.WhichOneof("part") == "text"] == [0, 1]
    assert [item async for item in call] == []
    assert await call.read() is grpc.aio.EOF


async def test_a_running_call(start: Start) -> None:
    call = start(LONG, timeout=20.0)
    assert (call.done(), call.cancelled()) == (False, False)
    assert 10.0 < call.time_remaining() <= 20.0
    assert "object" in repr(call)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call.code(), 0.05)
    assert not call.done()
    call.cancel()


async def test_a_call_without_a_deadline_has_no_time_remaining(start: Start) -> None:
    call = start(LONG, timeout=None)
    assert call.time_remaining() is None
    call.cancel()


async def test_a_deadline_ends_a_call(start: Start) -> None:
    call = start(LONG, timeout=0.3)
    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert call.time_remaining() == 0
    assert not call.cancelled()


async def test_a_cancelled_call(start: Start) -> None:
    call = start(LONG)
    done: list[Any] = []
    call.add_done_callback(done.append)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call.code(), 0.05)
    assert call.cancel() is True
    assert call.cancel() is False
    assert (call.done(), call.cancelled()) == (True, True)
    assert done == [call]
    with pytest.raises(asyncio.CancelledError):
        await end(call)
    assert await call.code() is grpc.StatusCode.CANCELLED
    assert await call.details() == "Locally cancelled by application!"
    assert tuple(await call.trailing_metadata()) == ()


async def test_callbacks_run_in_order_even_if_the_call_is_not_read(start: Start) -> None:
    call = start(ABORT)
    order: list[str] = []
    last = asyncio.Event()
    call.add_done_callback(lambda done: order.append("first"))
    call.add_done_callback(lambda done: order.append(f"second {done is call}"))
    call.add_done_callback(lambda done: last.set())
    async with asyncio.timeout(TIMEOUT_S):
        await last.wait()
    assert order == ["first", "second True"]
    assert call.done()
    call.add_done_callback(lambda done: order.append("late"))
    assert order[-1] == "late"


async def test_a_call_is_compared_by_identity_and_is_not_pickled(start: Start) -> None:
    one, other = start(ABORT), start(ABORT)
    assert one == one
    assert len({one, other, one}) == 2
    with pytest.raises(TypeError):
        pickle.dumps(one)
    await one.code()
    await other.code()


async def test_several_tasks_may_wait(start: Start) -> None:
    call = start(ABORT)
    codes = await asyncio.gather(*(call.code() for _ in range(4)))
    assert set(codes) == {grpc.StatusCode.NOT_FOUND}
