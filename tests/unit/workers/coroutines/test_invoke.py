"""Invoking a coroutine handler: the four kinds of methods, statuses, stops and deadlines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2

from forebay.compute.v1 import compute_pb2 as pb
from forebay.routes import Method
from tests.unit.samples import METHODS
from tests.unit.workers.coroutines.attempts import Attempt

UNARY, RESPONSES, BOTH = METHODS["Add"], METHODS["Factorial"], METHODS["MatMul"]
REQUESTS = replace(BOTH, server_streaming=False, response_class=pb.AddResponse)
CHUNKS = [pb.MatMulRequest(left_chunk=bytes(size)) for size in (1, 2, 3)]
PANELS = [pb.MatMulResponse(panel=pb.Panel(data=bytes(size))) for size in (1, 2, 3)]
DIGITS = [pb.FactorialResponse(digits=str(digit)) for digit in range(2)]


async def _add(request: pb.AddRequest, context: Any) -> pb.AddResponse:
    await asyncio.sleep(0)
    return pb.AddResponse(sum=request.x + request.y)


async def _digits(request: pb.FactorialRequest, context: Any) -> AsyncIterator[Message]:
    for digit in range(request.n):
        yield pb.FactorialResponse(digits=str(digit))


async def _written_digits(request: pb.FactorialRequest, context: Any) -> None:
    for digit in range(request.n):
        await context.write(pb.FactorialResponse(digits=str(digit)))


async def _total(requests: Any, context: Any) -> pb.AddResponse:
    return pb.AddResponse(sum=sum([len(request.left_chunk) async for request in requests]))


async def _panels(requests: Any, context: Any) -> AsyncIterator[Message]:
    async for request in requests:
        yield pb.MatMulResponse(panel=pb.Panel(data=request.left_chunk))


async def _read_panels(requests: Any, context: Any) -> None:
    while (request := await context.read()) is not grpc.aio.EOF:
        await context.write(pb.MatMulResponse(panel=pb.Panel(data=request.left_chunk)))


@pytest.mark.parametrize(
    ("method", "handler", "requests", "responses"),
    [
        (UNARY, _add, [pb.AddRequest(x=4, y=6)], [pb.AddResponse(sum=10)]),
        (RESPONSES, _digits, [pb.FactorialRequest(n=2)], DIGITS),
        (RESPONSES, _written_digits, [pb.FactorialRequest(n=2)], DIGITS),
        (REQUESTS, _total, CHUNKS, [pb.AddResponse(sum=6)]),
        (BOTH, _panels, CHUNKS, PANELS),
        (BOTH, _read_panels, CHUNKS, PANELS),
    ],
)
def test_each_kind_of_method_is_served(
    method: Method,
    handler: Callable[..., Any],
    requests: list[Message],
    responses: list[Message],
) -> None:
    attempt = Attempt()
    outcome = attempt.run(method, handler, *requests)
    assert outcome is not None
    assert outcome.code == 0
    assert attempt.emitted == responses


def outcome_of(handler: Callable[..., Any], method: Method = UNARY) -> tuple[int, str]:
    outcome = Attempt().run(method, handler, method.request_class())
    assert outcome is not None
    return outcome.code, outcome.message


async def _abort(request: Any, context: Any) -> None:
    await context.abort(grpc.StatusCode.NOT_FOUND, "gone")


async def _swallowed(request: Any, context: Any) -> pb.AddResponse:
    try:
        await context.abort(grpc.StatusCode.NOT_FOUND, "gone")
    except grpc.aio.AbortError:
        context.set_code(grpc.StatusCode.OK)
    return pb.AddResponse()


async def _replaced(request: Any, context: Any) -> None:
    try:
        await context.abort(grpc.StatusCode.NOT_FOUND, "gone")
    finally:
        raise RuntimeError("in cleaning up")


@pytest.mark.parametrize("handler", [_abort, _swallowed, _replaced])
def test_an_abort_is_final(handler: Callable[..., Any]) -> None:
    assert outcome_of(handler) == (code_pb2.NOT_FOUND, "gone")


@pytest.mark.parametrize(
    "error",
    [RuntimeError("secret"), SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()],
)
def test_any_exception_is_a_failure_of_the_handler(error: BaseException) -> None:
    async def handler(request: Any, context: Any) -> None:
        raise error

    code, message = outcome_of(handler)
    assert (code, "secret" in message) == (code_pb2.INTERNAL, False)


def test_a_handler_that_raises_has_the_status_that_it_had_set() -> None:
    async def handler(request: Any, context: Any) -> None:
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details("gone")
        raise RuntimeError("secret")

    assert outcome_of(handler) == (code_pb2.NOT_FOUND, "gone")


def test_a_wrong_type_is_a_failure_of_the_handler() -> None:
    async def handler(request: Any, context: Any) -> Any:
        return request

    assert outcome_of(handler)[0] == code_pb2.INTERNAL


class Waiting:
    """A handler that waits, and how it ended."""

    def __init__(self, then: Callable[[], Any] | None = None) -> None:
        self.began = asyncio.Event()
        self.ended_by: list[str] = []
        self._then = then

    async def unary(self, request: Any, context: Any) -> Any:
        """Waits until it is cancelled."""
        self.began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as error:
            self.ended_by.append(f"{type(error).__name__} {context.done()}")
            if self._then is not None:
                await asyncio.sleep(0.01)  # cleaning up may wait
                return self._then()
            raise

    async def stream(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """Likewise, after a response."""
        yield DIGITS[0]
        yield await self.unary(request, context)


@pytest.mark.parametrize("method", [UNARY, RESPONSES])
def test_a_stop_cancels_the_handler(method: Method) -> None:
    attempt, waiting = Attempt(), Waiting()

    async def stop() -> None:
        await waiting.began.wait()
        stopper = threading.Thread(target=attempt.call.stop, args=("CANCELLED",))
        stopper.start()

    handler = waiting.stream if method is RESPONSES else waiting.unary
    assert attempt.run(method, handler, method.request_class(), meanwhile=stop) is None
    assert waiting.ended_by == ["CancelledError True"]


def test_a_deadline_cancels_the_handler() -> None:
    attempt, waiting = Attempt(timeout_s=0.01), Waiting()
    assert attempt.run(UNARY, waiting.unary, pb.AddRequest()) is None
    assert waiting.ended_by == ["CancelledError True"]
    assert attempt.call.is_expired


def test_a_handler_may_clean_up_and_return_after_it_was_cancelled() -> None:
    attempt, waiting = Attempt(timeout_s=0.01), Waiting(then=pb.AddResponse)
    assert attempt.run(UNARY, waiting.unary, pb.AddRequest()) is None
    assert attempt.emitted == []


def test_a_call_that_was_stopped_before_does_not_run() -> None:
    attempt, ran = Attempt(), []

    async def handler(request: Any, context: Any) -> None:
        ran.append(True)

    attempt.before = lambda: attempt.call.stop("CANCELLED")
    assert attempt.run(UNARY, handler, pb.AddRequest()) is None
    assert not ran


def test_a_response_that_the_ledger_refuses_closes_the_generator() -> None:
    closed: list[bool] = []

    async def handler(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            for digit in DIGITS * 2:
                yield digit
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    attempt = Attempt(stop_at=1)
    assert attempt.run(RESPONSES, handler, pb.FactorialRequest()) is None
    assert (attempt.emitted, closed) == (DIGITS[:1], [True])


def test_a_cancelled_read_loses_no_request() -> None:
    async def handler(requests: Any, context: Any) -> AsyncIterator[Message]:
        for _ in range(3):  # of which some are cancelled at each point
            reading = asyncio.create_task(context.read())
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
        async for request in requests:
            yield pb.MatMulResponse(panel=pb.Panel(data=request.left_chunk))

    attempt = Attempt()
    attempt.run(BOTH, handler, *CHUNKS)
    assert attempt.emitted == PANELS


def test_context_variables_reach_the_tasks_of_a_handler() -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")
    found: list[str] = []

    class Naming:
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            who.set("somebody")
            return await continuation(details)

    async def handler(request: Any, context: Any) -> pb.AddResponse:
        async def look() -> None:
            found.append(who.get())

        await asyncio.create_task(look())
        return pb.AddResponse()

    Attempt().run(UNARY, handler, pb.AddRequest(), interceptors=(Naming(),))
    assert found == ["somebody"]


def test_callbacks_run_when_the_handler_has_ended_in_spite_of_one_that_raises() -> None:
    called: list[Any] = []

    async def handler(request: Any, context: Any) -> pb.AddResponse:
        context.add_done_callback(lambda given: called.append((given is context, given.done())))
        context.add_done_callback(lambda given: 1 / 0)
        context.add_done_callback(lambda given: called.append("last"))
        return pb.AddResponse()

    Attempt().run(UNARY, handler, pb.AddRequest())
    assert called == [(True, True), "last"]


def test_initial_metadata_is_sent_once_and_before_the_first_response() -> None:
    async def handler(request: Any, context: Any) -> AsyncIterator[Message]:
        await context.send_initial_metadata((("x-a", "1"),))
        with pytest.raises(grpc.aio.UsageError):
            await context.send_initial_metadata(())
        yield DIGITS[0]

    attempt = Attempt()
    attempt.run(RESPONSES, handler, pb.FactorialRequest())
    assert len(attempt.initial) == 1


class Span:
    """An attempt's span that notes what it is told."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    def run(self, run: Callable[[], Any]) -> Any:
        """Makes itself the current span."""
        return run()

    def on_item(self) -> None:
        """Notes an item."""
        self.noted.append("item")

    def failed(self, error: BaseException) -> None:
        """Notes the exception."""
        self.noted.append(type(error).__name__)

    def on_end(self, code: int | None, stopped: str | None = None) -> None:
        """Notes the end."""
        self.noted.append(f"end {code} {stopped}")


async def _one_then_fails(request: Any, context: Any) -> AsyncIterator[Message]:
    yield DIGITS[0]
    raise ValueError("secret")


@pytest.mark.parametrize(
    ("handler", "noted"),
    [
        (_digits, ["item", "item", "end 0 None"]),
        (_written_digits, ["item", "item", "end 0 None"]),
        (_one_then_fails, ["item", "ValueError", f"end {code_pb2.INTERNAL} None"]),
    ],
)
def test_a_span_hears_of_items_and_of_the_end(
    handler: Callable[..., Any], noted: list[str]
) -> None:
    attempt, span = Attempt(), Span()

    def trace() -> None:
        attempt.call.span = span  # type: ignore[assignment]

    attempt.before = trace
    attempt.run(RESPONSES, handler, pb.FactorialRequest(n=2))
    assert span.noted == noted
