"""Probes of unary methods: the context of a coroutine, and how it may end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc

from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse
from tests.servicers.probing.reporting import CALLED, result, text
from tests.servicers.probing.unary import Refusal

OK, NOT_FOUND = grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND
Probe = Callable[[Any, Any], Awaitable[Any]]

METADATA: Mapping[str, Any] = {
    "nothing": (),
    "tuples": (("x-a", "1"), ("x-a", "2"), ("x-b-bin", b"\x00\xff")),
    "a list of tuples": [("x-a", "1")],
    "a Metadata object": grpc.aio.Metadata(("x-a", "1"), ("x-a", "2")),
}
REFUSED_TRAILING: Mapping[str, Any] = {
    "None": None,
    "a number": 5,
    "a dict": {"x-a": "1"},
    "lists": [["x-a", "1"]],
    "three values": [("x-a", "1", "2")],
    "a key of bytes": [(b"x-a", "1")],
}


async def awaited(awaitable: Awaitable[Any]) -> tuple[str, Any]:
    """The result and its type, or the type of the exception."""
    try:
        returned = await awaitable
    except Exception as error:
        kinds = [kind for kind in type(error).__mro__ if "forebay" not in kind.__module__]
        names = [kind.__name__ for kind in kinds]
        return "raises", "AbortError" if "AbortError" in names else names[0]
    return type(returned).__name__, returned


async def at_first(request: EchoRequest, context: Any) -> EchoResponse:
    """All properties before the first setter, except those of the connection."""
    return text(
        [
            result(context.code),
            result(context.details),
            result(context.trailing_metadata),
            result(context.done),
            result(context.cancelled),
            result(context.peer)[0],
            result(context.peer_identities),
            result(context.peer_identity_key),
            result(context.auth_context)[0],
            result(context.invocation_metadata)[0],
            result(context.time_remaining)[0],
        ]
    )


async def no_deadline(request: EchoRequest, context: Any) -> EchoResponse:
    return text(context.time_remaining())


async def invocation_metadata(request: EchoRequest, context: Any) -> EchoResponse:
    entries = [entry for entry in context.invocation_metadata() if entry.key.startswith("x-")]
    return text([(entry.key, entry.value, isinstance(entry, tuple)) for entry in entries])


async def settings(request: EchoRequest, context: Any) -> EchoResponse:
    """What the setters return, and the getters after them."""
    return text(
        [
            result(context.set_code, OK),
            result(context.code),
            result(context.set_details, "text ☃"),
            result(context.details),
            result(context.set_details, b"bytes")[0],
            result(context.set_details, 5)[0],
            result(context.set_details, ""),
            result(context.details),
            result(context.set_trailing_metadata, [("x-a", "1")]),
            result(context.trailing_metadata),
            result(context.set_compression, grpc.Compression.NoCompression),
            result(context.disable_next_message_compression),
            result(context.add_done_callback, lambda context: None),
        ]
    )


async def requests_of_a_unary_method(request: EchoRequest, context: Any) -> EchoResponse:
    kind, read = await awaited(context.read())
    again = await awaited(context.read())
    written = await awaited(context.write(EchoResponse(text="no")))
    return text([read is grpc.aio.EOF, kind, again[0], written])


def code(value: Any, details: str = "because") -> Probe:
    async def probe(request: EchoRequest, context: Any) -> EchoResponse:
        context.set_code(value)
        context.set_details(details)
        context.set_trailing_metadata((("x-code", repr(context.code())),))
        return text("done")

    return probe


async def code_without_a_response(request: EchoRequest, context: Any) -> None:
    context.set_code(NOT_FOUND)
    context.set_details("gone")


def abort(*arguments: Any) -> Probe:
    async def probe(request: EchoRequest, context: Any) -> None:
        await context.abort(*arguments)

    return probe


async def abort_after_details(request: EchoRequest, context: Any) -> None:
    context.set_details("set before")
    context.set_trailing_metadata((("x-before", "1"),))
    await context.abort(NOT_FOUND)


async def abort_with_status(request: EchoRequest, context: Any) -> None:
    context.set_trailing_metadata((("x-before", "1"),))
    await context.abort_with_status(Refusal(NOT_FOUND, "gone", (("x-a", "1"),)))


async def abort_swallowed(request: EchoRequest, context: Any) -> EchoResponse:
    """The abort is final; everything after it raises."""
    seen = [await awaited(context.abort(NOT_FOUND, "gone"))]
    seen.append(("status", (context.code(), context.details(), context.done())))
    seen.append(await awaited(context.abort(grpc.StatusCode.DATA_LOSS, "lost")))
    seen.append(await awaited(context.read()))
    seen.append(await awaited(context.write(EchoResponse())))
    seen.append(await awaited(context.send_initial_metadata(())))
    CALLED.append(repr(seen))
    context.set_code(OK)
    return text("went on")


async def abort_then_raise(request: EchoRequest, context: Any) -> None:
    try:
        await context.abort(NOT_FOUND, "gone")
    finally:
        await asyncio.sleep(0)
        context.set_details("another")


async def abort_in_a_task(request: EchoRequest, context: Any) -> None:
    await asyncio.create_task(context.abort(NOT_FOUND, "gone"))


async def done_callbacks(request: EchoRequest, context: Any) -> EchoResponse:
    """They run in order, with the context, when the call has ended."""
    for name in ("first", "second"):
        context.add_done_callback(
            lambda given, name=name: CALLED.append(f"{name} {given is context} {given.done()}")
        )
    return text(CALLED)


async def after_the_end(request: EchoRequest, context: Any) -> EchoResponse:
    """A task of the handler's own goes on after it."""

    async def watch() -> None:
        while not context.done():  # noqa: ASYNC110 - the context has no event
            await asyncio.sleep(0.01)
        CALLED.append(repr(await awaited(context.send_initial_metadata(()))))

    TASKS.append(asyncio.create_task(watch()))
    return text("begun")


TASKS: list[asyncio.Task[None]] = []
"""So that they are not collected while they run."""


async def in_a_thread(request: EchoRequest, context: Any) -> EchoResponse:
    name = await asyncio.to_thread(lambda: threading.current_thread().name)
    return text(name != threading.current_thread().name)


async def timeouts(request: EchoRequest, context: Any) -> EchoResponse:
    """Cancellations of the handler's own stay its own."""
    try:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)
    except TimeoutError:
        pass
    sleeper = asyncio.create_task(asyncio.sleep(60))
    sleeper.cancel()
    await asyncio.wait([sleeper])
    return text("over")


def initial(metadata: Any) -> Probe:
    async def probe(request: EchoRequest, context: Any) -> EchoResponse:
        return text(
            [
                await awaited(context.send_initial_metadata(metadata)),
                await awaited(context.send_initial_metadata(())),
            ]
        )

    return probe


def trailing(metadata: Any) -> Probe:
    async def probe(request: EchoRequest, context: Any) -> EchoResponse:
        context.set_trailing_metadata(metadata)
        return text((type(context.trailing_metadata()), context.trailing_metadata()))

    return probe


def refused_trailing(metadata: Any) -> Probe:
    async def probe(request: EchoRequest, context: Any) -> EchoResponse:
        return text(result(context.set_trailing_metadata, metadata))

    return probe


async def until_cancelled(request: EchoRequest, context: Any) -> None:
    """Reports the state before the caller's cancel, and after it."""
    CALLED.append(repr((context.cancelled(), context.done())))
    try:
        await asyncio.Event().wait()
    finally:
        CALLED.append(repr((context.cancelled(), context.done())))


async def none(request: EchoRequest, context: Any) -> None:
    """No response."""


def raises(error: BaseException) -> Probe:
    async def probe(request: EchoRequest, context: Any) -> None:
        raise error

    return probe


async def trailing_then_raise(request: EchoRequest, context: Any) -> None:
    context.set_trailing_metadata((("x-a", "1"),))
    raise RuntimeError("a secret")


PROBES: dict[str, Probe] = {
    "at first": at_first,
    "no deadline": no_deadline,
    "invocation metadata": invocation_metadata,
    "settings": settings,
    "requests of a unary method": requests_of_a_unary_method,
    "code": code(NOT_FOUND),
    "code OK": code(OK),
    "code None": code(None),
    "code of a number": code(5),
    "code of a large number": code(99),
    "code 0": code(0),
    "code of a text": code("NOT_FOUND"),
    "code CANCELLED": code(grpc.StatusCode.CANCELLED),
    "code, then no response": code_without_a_response,
    "abort": abort(NOT_FOUND, "gone"),
    "abort without details": abort(NOT_FOUND),
    "abort with metadata": abort(NOT_FOUND, "gone", (("x-a", "1"),)),
    "abort with a list": abort(NOT_FOUND, "gone", [("x-a", "1")]),
    "abort with bytes": abort(NOT_FOUND, b"gone"),
    "abort with None": abort(None, "because"),
    "abort with a number": abort(5, "because"),
    "abort with several lines": abort(NOT_FOUND, "line 1\nline 2: 100% ☃\ttab"),
    "abort after details": abort_after_details,
    "abort with a status": abort_with_status,
    "abort, swallowed": abort_swallowed,
    "abort, then clean up": abort_then_raise,
    "abort in a task": abort_in_a_task,
    "done callbacks": done_callbacks,
    "after the end": after_the_end,
    "in a thread": in_a_thread,
    "timeouts": timeouts,
    "no response": none,
    "exception": raises(RuntimeError("a secret")),
    "trailing metadata, then an exception": trailing_then_raise,
    "RpcError": raises(grpc.RpcError("of another call")),
    **{f"initial metadata: {name}": initial(value) for name, value in METADATA.items()},
    **{f"trailing metadata: {name}": trailing(value) for name, value in METADATA.items()},
    **{f"refused trailing: {name}": refused_trailing(v) for name, v in REFUSED_TRAILING.items()},
}
