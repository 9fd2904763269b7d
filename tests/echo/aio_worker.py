"""`celery -A tests.echo.aio_worker worker -Q echo`: EchoService by coroutines, as for grpc.aio."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from opentelemetry import trace

from forebay_workers import application
from tests.echo.v1 import echo_pb2, echo_pb2_grpc
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse, Gate
from tests.echo.worker import (
    CODES,
    EchoServicer,
    StatusWithDetails,
    die_once,
    note,
    who_calls,
    zeros,
)


async def act(request: EchoRequest, context: Any) -> None:
    """Does the request's `act` before the response."""
    match request.act:
        case "abort":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such ☃")
        case "abort with details":
            info = any_pb2.Any()
            info.Pack(error_details_pb2.ErrorInfo(reason="OUT_OF_TEA", domain="tests"))
            status = status_pb2.Status(code=9, message="no tea", details=[info])
            await context.abort_with_status(StatusWithDetails(status))
        case "raise":
            raise RuntimeError("a secret that must stay in the log")
        case "exit":
            sys.exit(1)
        case "exit in a task":
            exiting = asyncio.create_task(_exit())
            await asyncio.wait([exiting])
        case "cancelled":
            raise asyncio.CancelledError
        case "set code":
            context.set_code(grpc.StatusCode.ALREADY_EXISTS)
            context.set_details("as set")
        case "metadata":
            options = dict(context.invocation_metadata())
            await context.send_initial_metadata((("x-initial", options.get("x-wish", "none")),))
            context.set_trailing_metadata((("x-trailing", "t"), ("x-trailing-bin", b"\x00\xff")))
        case "log the text":
            logging.getLogger("shop.orders").debug("sold %s", request.text)
            print(f"printed {request.text}")  # noqa: T201 - Celery logs it
        case "sleep":
            await sleep(request)
        case "insist":
            time.sleep(request.seconds)  # noqa: ASYNC251 - it blocks the loop
        case "swallow":
            await _swallow(request)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "die once":
            die_once(request.text)
        case "pass the gate":
            note(request, "begins")
            await pass_through(request.gate, 0)
            note(request, "ends")
        case "log":
            await asyncio.create_task(_log_line())
        case "span":
            with trace.get_tracer("shop").start_as_current_span("look up"):
                logging.getLogger("shop.orders").info("looked up")
        case "time remaining":
            request.text = f"{context.time_remaining()}"
        case "loop":
            request.text = f"{os.getpid()} {id(asyncio.get_running_loop())}"


async def sleep(request: EchoRequest) -> None:
    """Sleeps; writes to the file that the text names, if it is a path, when it is cancelled."""
    file = Path(request.text) if request.text.startswith("/") else None
    try:
        if file is not None:
            file.with_suffix(".begun").touch()
        await asyncio.sleep(request.seconds)
    except asyncio.CancelledError:
        if file is not None:
            file.write_text(f"{time.time()}")
        raise


async def _swallow(request: EchoRequest) -> None:
    give_up = time.monotonic() + request.seconds
    while time.monotonic() < give_up:
        try:
            await asyncio.sleep(give_up - time.monotonic())
        except asyncio.CancelledError:
            continue


async def _exit() -> None:
    sys.exit(1)


async def _log_line() -> None:
    logging.getLogger("shop.orders").warning("no stock")


async def echo_metadata(context: Any) -> None:
    """Returns the metadata that gRPC's interop tests ask for."""
    given = dict(context.invocation_metadata())
    initial = given.get("x-grpc-test-echo-initial")
    if initial is not None:
        await context.send_initial_metadata((("x-grpc-test-echo-initial", initial),))
    trailing = given.get("x-grpc-test-echo-trailing-bin")
    if trailing is not None:
        context.set_trailing_metadata((("x-grpc-test-echo-trailing-bin", trailing),))


async def end_as_asked(request: EchoRequest, context: Any) -> None:
    """Ends the call with the status that the request names, if any."""
    if request.HasField("status"):
        await context.abort(CODES[request.status.code], request.status.message)


async def pass_through(gate: Gate, index: int) -> None:
    """If the gate is before this index, waits until it opens."""
    if gate.path and gate.before == index:
        while not Path(gate.path).exists():  # noqa: ASYNC110, ASYNC240 - opened by another process
            await asyncio.sleep(0.01)


class AioEchoServicer(echo_pb2_grpc.EchoServiceServicer):
    """The handlers of `tests.echo.worker`, as coroutines."""

    async def Unary(self, request: EchoRequest, context: Any) -> Any:  # type: ignore[override]
        await act(request, context)
        await echo_metadata(context)
        await end_as_asked(request, context)
        if request.act == "wrong type":
            return request
        if request.act == "say who calls":
            return EchoResponse(text=who_calls(context))
        return EchoResponse(text=request.text, padding=zeros(request.padding))

    Quick = Unary  # type: ignore[assignment]
    QuickAgain = Unary  # type: ignore[assignment]

    async def ServerStream(  # type: ignore[override]
        self, request: EchoRequest, context: Any
    ) -> AsyncIterator[EchoResponse]:
        await act(request, context)
        sizes = request.sizes or [request.padding] * request.count
        for index, size in enumerate(sizes):
            await pass_through(request.gate, index)
            if request.seconds:
                yield EchoResponse(transient=f"about {index}")
                await asyncio.sleep(request.seconds)
            yield EchoResponse(text=request.text, index=index, padding=zeros(size))
        await pass_through(request.gate, len(sizes))
        await end_as_asked(request, context)

    Detached = ServerStream  # type: ignore[assignment]
    Narrow = ServerStream  # type: ignore[assignment]
    Steady = ServerStream  # type: ignore[assignment]

    async def ClientStream(self, requests: Any, context: Any) -> Any:  # type: ignore[override]
        texts = []
        async for request in requests:
            await act(request, context)
            await end_as_asked(request, context)
            texts.append(request.text)
            if request.act == "return":
                break
        return EchoResponse(text="".join(texts), index=len(texts))

    async def Bidi(  # type: ignore[override]
        self, requests: Any, context: Any
    ) -> AsyncIterator[EchoResponse]:
        await echo_metadata(context)
        index = 0
        async for request in requests:
            await act(request, context)
            yield EchoResponse(text=request.text, index=index, padding=zeros(request.padding))
            await end_as_asked(request, context)
            index += 1

    async def Talk(self, requests: Any, context: Any) -> None:  # type: ignore[override]
        """As Bidi, with `read` and `write`."""
        index = 0
        while (request := await context.read()) is not grpc.aio.EOF:
            await act(request, context)
            padding = zeros(request.padding)
            await context.write(EchoResponse(text=request.text, index=index, padding=padding))
            await end_as_asked(request, context)
            index += 1

    TalkAgain = Talk  # type: ignore[assignment]
    TalkFast = Bidi  # type: ignore[assignment]
    Listen = ClientStream  # type: ignore[assignment]

    # Ordinary methods: they run in threads beside the coroutines.
    Cached = EchoServicer.Unary
    Nothing = EchoServicer.Nothing


app = application("echo", {echo_pb2.DESCRIPTOR.services_by_name["EchoService"]: AioEchoServicer()})
