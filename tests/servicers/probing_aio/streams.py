"""Probes of streams: asynchronous generators, and `context.read` and `context.write`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from tests.echo.v1.echo_pb2 import EchoResponse
from tests.servicers.probing.reporting import CALLED, text
from tests.servicers.probing_aio.unary import NOT_FOUND, Probe, awaited


async def iterator(requests: Any, context: Any) -> EchoResponse:
    """It shares its requests with `context.read`."""
    return text(
        [
            (await context.read()).text,
            (await anext(aiter(requests))).text,
            [request.text async for request in requests],
            (await context.read()) is grpc.aio.EOF,
            [request.text async for request in requests],
            hasattr(requests, "__anext__"),
        ]
    )


async def reader(requests: Any, context: Any) -> EchoResponse:
    texts = []
    while (request := await context.read()) is not grpc.aio.EOF:
        texts.append(request.text)
    return text(texts)


async def early(requests: Any, context: Any) -> EchoResponse:
    return text("without reading the rest")


def responses_then(end: Probe) -> Callable[[Any, Any], AsyncIterator[Any]]:
    async def probe(request: Any, context: Any) -> AsyncIterator[Any]:
        context.set_trailing_metadata((("x-before", "1"),))
        yield text("one")
        yield await end(request, context)

    return probe


async def _abort(request: Any, context: Any) -> None:
    await context.abort(NOT_FOUND, "gone")


async def _swallowed(request: Any, context: Any) -> EchoResponse:
    await awaited(context.abort(NOT_FOUND, "gone"))
    return text("after the abort")


async def _code(request: Any, context: Any) -> EchoResponse:
    context.set_code(NOT_FOUND)
    context.set_details("because")
    return text("two")


async def _raise(request: Any, context: Any) -> EchoResponse:
    raise RuntimeError("a secret")


async def _late_initial(request: Any, context: Any) -> EchoResponse:
    return text(await awaited(context.send_initial_metadata(())))


async def _written(request: Any, context: Any) -> EchoResponse:
    await context.write(text("written"))
    return text("two")


async def nothing(request: Any, context: Any) -> AsyncIterator[Any]:
    for response in ():
        yield response


async def cleaned_up(request: Any, context: Any) -> AsyncIterator[Any]:
    try:
        yield text("one")
        await context.abort(NOT_FOUND, "gone")
    finally:
        CALLED.append("cleaned up")


async def written(request: Any, context: Any) -> EchoResponse:
    """What a coroutine of a stream returns is ignored."""
    for number in ("one", "two"):
        await context.write(text(number))
    return text("ignored")


async def written_then_abort(request: Any, context: Any) -> None:
    await context.send_initial_metadata((("x-initial", "1"),))
    await context.write(text("one"))
    await context.abort(NOT_FOUND, "gone", (("x-a", "1"),))


async def written_then_raise(request: Any, context: Any) -> None:
    await context.write(text("one"))
    raise RuntimeError("a secret")


async def written_nothing(request: Any, context: Any) -> None:
    context.set_trailing_metadata((("x-nothing", "1"),))


async def read_with_timeout(requests: Any, context: Any) -> None:
    """A read that is cancelled loses nothing."""
    reading = asyncio.ensure_future(context.read())
    done, _ = await asyncio.wait([reading], timeout=5)
    await context.write(text([len(done), getattr(reading.result(), "text", "end")]))


REQUEST_PROBES: dict[str, Probe] = {"iterator": iterator, "reader": reader, "early": early}
STREAMS: dict[str, Callable[..., AsyncIterator[EchoResponse]]] = {
    "abort": responses_then(_abort),
    "swallowed abort": responses_then(_swallowed),
    "code": responses_then(_code),
    "exception": responses_then(_raise),
    "late initial metadata": responses_then(_late_initial),
    "yielded and written": responses_then(_written),
    "nothing": nothing,
    "cleaned up": cleaned_up,
}
WRITERS: dict[str, Probe] = {
    "written": written,
    "written, then abort": written_then_abort,
    "written, then an exception": written_then_raise,
    "nothing written": written_nothing,
    "read in a task": read_with_timeout,
}
