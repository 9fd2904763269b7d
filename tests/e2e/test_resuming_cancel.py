"""Cancelled calls end on the gateway at once, not after their linger of 10 s."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

import forebay
import forebay.aio
from forebay.cli.ctrl_c import CancelOnCtrlC
from tests.e2e.conftest import Site
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually, free_port, process

TIMEOUT_S = 60.0
LONG = EchoRequest(act="sleep", seconds=60, count=1)


def named(name: str) -> tuple[tuple[str, str], ...]:
    return (("forebay-call-id", name),)


def begun(site: Site, name: str) -> None:
    eventually(lambda: site.field(name, "state") == "RUNNING", "the handler runs")


class OnRetry(logging.Handler):
    """Acts when the log says that a further attempt is due, before the client waits for it."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self._act = act

    def emit(self, record: logging.LogRecord) -> None:
        self._act()


@contextmanager
def cancelled_on_retry(call: grpc.RpcContext | grpc.aio.Call) -> Iterator[None]:
    log, handler = logging.getLogger("forebay.resume.attempts"), OnRetry(call.cancel)
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def test_a_cancelled_stream_ends_at_once(site: Site) -> None:
    with forebay.channel(site.targets()) as channel:
        call = EchoServiceStub(channel).ServerStream(LONG, metadata=named("stream"))
        over = threading.Event()
        assert call.add_callback(over.set)
        begun(site, "stream")
        assert call.cancel()
        with pytest.raises(grpc.RpcError) as raised:
            next(call)
        assert raised.value.code() is grpc.StatusCode.CANCELLED
        assert over.wait(TIMEOUT_S)
        assert not call.is_active()
        site.wait_for_cancel("stream")


def test_a_cancelled_future_ends_at_once(site: Site) -> None:
    with forebay.channel(site.targets()) as channel:
        future = EchoServiceStub(channel).Unary.future(LONG, metadata=named("a-future"))
        begun(site, "a-future")
        assert future.cancel()
        with pytest.raises(grpc.FutureCancelledError):
            future.result(timeout=TIMEOUT_S)
        assert future.cancelled()
        site.wait_for_cancel("a-future")


def test_closing_an_iterator_cancels_its_call(site: Site) -> None:
    with forebay.connect(site.targets()) as client:
        pieces = client.factorial_digits(3_000_000, call_id="closed-early")
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]
        site.wait_for_cancel("closed-early")


def test_a_progress_callback_that_raises_cancels_its_call(site: Site) -> None:
    def fail(fraction: float, stage: str) -> None:
        raise RuntimeError("enough")

    with forebay.connect(site.targets()) as client:
        with pytest.raises(RuntimeError, match="enough"):
            client.factorial(9_000_000, progress=fail, call_id="raised")
        site.wait_for_cancel("raised")


def test_closing_a_channel_cancels_its_calls(site: Site) -> None:
    channel = forebay.channel(site.targets())
    with ThreadPoolExecutor() as pool:
        unary = EchoServiceStub(channel).Unary
        waiting = pool.submit(unary, LONG, metadata=named("closed"))
        begun(site, "closed")
        channel.close()
        with pytest.raises(grpc.RpcError) as raised:
            waiting.result()
        assert raised.value.code() is grpc.StatusCode.CANCELLED
    site.wait_for_cancel("closed")


def test_a_detached_call_continues_after_its_caller_cancels(site: Site) -> None:
    with forebay.channel(site.targets()) as channel:
        call = EchoServiceStub(channel).Detached(
            EchoRequest(text="x", count=3, seconds=0.3), metadata=named("left-alone")
        )
        next(call)
        call.cancel()
    eventually(lambda: site.field("left-alone", "state") == "SUCCEEDED", "it ends by itself")


def test_a_call_that_waits_for_a_gateway_wait_for_cancel() -> None:
    with forebay.channel(f"127.0.0.1:{free_port()}") as channel:
        stub = EchoServiceStub(channel)
        stream, future = stub.ServerStream(LONG), stub.Unary.future(LONG)
        for call in (stream, future):
            threading.Timer(1.0, call.cancel).start()
        with pytest.raises(grpc.RpcError) as raised:
            next(stream)
        assert raised.value.code() is grpc.StatusCode.CANCELLED
        with pytest.raises(grpc.FutureCancelledError):
            future.result(timeout=TIMEOUT_S)
        # Without a cancel, they would wait for a gateway for ever.


async def test_cancelling_the_awaiting_task_cancels_the_call(site: Site) -> None:
    async with forebay.aio.channel(site.targets()) as channel:
        stub = EchoServiceStub(channel)

        async def read() -> None:
            async for _ in stub.ServerStream(LONG, metadata=named("task-stream")):
                pass

        async def one() -> None:
            await stub.Unary(LONG, metadata=named("task-one"))

        for task, name in ((read, "task-stream"), (one, "task-one")):
            running = asyncio.create_task(task())
            await asyncio.to_thread(begun, site, name)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            await asyncio.to_thread(site.wait_for_cancel, name)


async def test_closing_an_asyncio_channel_cancels_its_calls(site: Site) -> None:
    async with forebay.aio.channel(site.targets()) as channel:
        call = EchoServiceStub(channel).Unary(LONG, metadata=named("closed-async"))
        await asyncio.to_thread(begun, site, "closed-async")
    # The call ends when the channel closes, or before by the cancel request that it sends.
    with pytest.raises((asyncio.CancelledError, grpc.aio.AioRpcError)) as raised:
        await call
    if isinstance(raised.value, grpc.aio.AioRpcError):
        assert raised.value.code() is grpc.StatusCode.CANCELLED
    await asyncio.to_thread(site.wait_for_cancel, "closed-async")


def test_ctrl_c_cancels_the_call_of_the_command(site: Site) -> None:
    target = ",".join(site.targets())
    command = ["forebay", "call", "-t", target, "Factorial", "n=9000000", "--id", "interrupted"]
    with process(*command, env=site.env) as run:
        begun(site, "interrupted")
        run.popen.send_signal(signal.SIGINT)
        assert run.ended() == 130
        assert "Traceback" not in run.output
    site.wait_for_cancel("interrupted")


def test_ctrl_c_before_the_first_response_cancels_the_call(site: Site) -> None:
    def interrupted_at_once() -> None:
        with forebay.channel(site.targets()) as channel, CancelOnCtrlC() as ctrl_c:
            call = EchoServiceStub(channel).ServerStream(LONG, metadata=named("at-once"))
            begun(site, "at-once")
            signal.raise_signal(signal.SIGINT)
            list(ctrl_c.responses(call))

    with pytest.raises(SystemExit) as ended:
        interrupted_at_once()
    assert ended.value.code == 130
    site.wait_for_cancel("at-once")


def test_a_call_that_is_cancelled_between_two_attempts_ends_on_the_other_gateway(
    site: Site,
) -> None:
    with forebay.channel(site.targets()) as channel:
        call = EchoServiceStub(channel).ServerStream(LONG, metadata=named("between"))
        begun(site, "between")
        with cancelled_on_retry(call):
            site.end_gateway_of("between")
            assert call.code() is grpc.StatusCode.CANCELLED
        site.wait_for_cancel("between")


@pytest.mark.variant
async def test_an_asyncio_call_that_is_cancelled_between_two_attempts_ends_on_the_other_gateway(
    site: Site,
) -> None:
    async with forebay.aio.channel(site.targets()) as channel:
        call = EchoServiceStub(channel).Unary(LONG, metadata=named("between-async"))
        await asyncio.to_thread(begun, site, "between-async")
        with cancelled_on_retry(call):
            await asyncio.to_thread(site.end_gateway_of, "between-async")
            assert await call.code() is grpc.StatusCode.CANCELLED
        await asyncio.to_thread(site.wait_for_cancel, "between-async")


async def test_a_call_whose_channel_is_closed_between_two_attempts_is_cancelled() -> None:
    channel = forebay.aio.channel(f"127.0.0.1:{free_port()}")
    call = EchoServiceStub(channel).Unary(LONG)
    waiting = asyncio.create_task(call.code())
    await asyncio.sleep(1.0)  # it waits between two attempts for nearly all of the time
    await channel.close()
    async with asyncio.timeout(TIMEOUT_S):
        assert await waiting is await call.code() is grpc.StatusCode.CANCELLED
    assert call.cancelled()
    for waiting_for in (call, call.wait_for_connection()):
        with pytest.raises(asyncio.CancelledError):
            await waiting_for


async def test_a_call_that_is_cancelled_between_two_attempts_is_cancelled() -> None:
    async with forebay.aio.channel(f"127.0.0.1:{free_port()}") as channel:
        stub = EchoServiceStub(channel)
        for call in (stub.Unary(LONG), stub.ServerStream(LONG)):
            done = asyncio.Event()
            call.add_done_callback(lambda _, done=done: done.set())  # type: ignore[misc]
            waiting = asyncio.create_task(call.code())  # perhaps this task waits to retry
            asyncio.get_running_loop().call_later(1.0, call.cancel)
            async with asyncio.timeout(TIMEOUT_S):
                await done.wait()
                assert await waiting is await call.code() is grpc.StatusCode.CANCELLED
            assert call.cancelled()
