"""`celery -A tests.echo.worker worker -Q echo`: a servicer as for grpc.server, on the fleet."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import grpc
from google.protobuf import any_pb2, empty_pb2
from google.rpc import error_details_pb2, status_pb2
from opentelemetry import trace

from forebay_workers import application
from tests.echo.v1 import echo_pb2, echo_pb2_grpc
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse, Gate

CODES = {code.value[0]: code for code in grpc.StatusCode}
_MOST_PADDING = 16 << 20  # over any limit; a request for 4 GiB gets the same error


class StatusWithDetails(grpc.Status):
    """For `abort_with_status`."""

    def __init__(self, status: status_pb2.Status) -> None:
        self.code = grpc.StatusCode.FAILED_PRECONDITION
        self.details = status.message
        self.trailing_metadata = (
            ("grpc-status-details-bin", status.SerializeToString()),
            ("x-more", "yes"),
        )


def sleep(seconds: float, context: grpc.ServicerContext) -> None:
    """Sleeps for that time, or until the call is over."""
    give_up = time.monotonic() + seconds
    while context.is_active() and time.monotonic() < give_up:
        time.sleep(0.01)


def _sleep_whole(seconds: float) -> None:
    """Sleeps for that time, whether the call is over or not.

    In slices: Python notices a signal that comes right before a sleep only after it.
    """
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        time.sleep(0.01)


def act(request: EchoRequest, context: grpc.ServicerContext) -> None:
    """Does the request's `act` before the response."""
    match request.act:
        case "abort":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such ☃")
        case "abort with details":
            info = any_pb2.Any()
            info.Pack(error_details_pb2.ErrorInfo(reason="OUT_OF_TEA", domain="tests"))
            status = status_pb2.Status(code=9, message="no tea", details=[info])
            context.abort_with_status(StatusWithDetails(status))
        case "unavailable":
            context.abort(grpc.StatusCode.UNAVAILABLE, "the handler's own")
        case "raise":
            raise RuntimeError("a secret that must stay in the log")
        case "exit":
            sys.exit(1)
        case "cancelled":
            raise asyncio.CancelledError
        case "interrupt":
            raise KeyboardInterrupt
        case "generator exit":
            raise GeneratorExit
        case "set code":
            context.set_code(grpc.StatusCode.ALREADY_EXISTS)
            context.set_details("as set")
        case "metadata":
            options = dict(context.invocation_metadata())
            context.send_initial_metadata((("x-initial", options.get("x-wish", "none")),))
            context.set_trailing_metadata((("x-trailing", "t"), ("x-trailing-bin", b"\x00\xff")))
        case "received":
            given = context.invocation_metadata()
            request.text = " ".join(str(value) for key, value in given if key == request.text)
        case "large metadata":
            large = (("x-large-bin", zeros(request.padding)), ("x-small", "s"))
            context.send_initial_metadata(large)
            context.set_trailing_metadata(large)
        case "sleep":
            sleep(request.seconds, context)
        case "insist":
            _sleep_whole(request.seconds)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "die once":
            die_once(request.text)
        case "log":
            logging.getLogger("shop.orders").warning("no stock")
        case "log the text":
            logging.getLogger("shop.orders").debug("sold %s", request.text)
            print(f"printed {request.text}")  # noqa: T201 - Celery logs it
        case "span":
            with trace.get_tracer("shop").start_as_current_span("look up"):
                logging.getLogger("shop.orders").info("looked up")
        case "pass the gate":
            note(request, "begins")
            pass_through(request.gate, 0, context)
            note(request, "ends")
        case "cancel":
            context.cancel()
        case "time remaining":
            request.text = f"{context.time_remaining()}"


def die_once(file: str) -> None:
    """Kills this process, unless the file exists already."""
    if not Path(file).exists():
        Path(file).touch()
        os.kill(os.getpid(), signal.SIGKILL)


def note(request: EchoRequest, what: str) -> None:
    """Appends a line to the file `log` beside the request's gate."""
    with Path(request.gate.path).with_name("log").open("a") as file:
        file.write(f"{request.text} {what}\n")


def zeros(size: int) -> bytes:
    """That many zero bytes, up to a limit."""
    return bytes(min(size, _MOST_PADDING))


def echo_metadata(context: grpc.ServicerContext) -> None:
    """Returns the metadata that gRPC's interop tests ask for."""
    given = dict(context.invocation_metadata())
    initial = given.get("x-grpc-test-echo-initial")
    if initial is not None:
        context.send_initial_metadata((("x-grpc-test-echo-initial", initial),))
    trailing = given.get("x-grpc-test-echo-trailing-bin")
    if trailing is not None:
        context.set_trailing_metadata((("x-grpc-test-echo-trailing-bin", trailing),))


def who_calls(context: grpc.ServicerContext) -> str:
    """What a handler knows of its caller, in JSON."""
    known: Mapping[str, Iterable[bytes]] = context.auth_context()  # type: ignore[assignment]
    identities: Iterable[bytes] = context.peer_identities() or ()
    return json.dumps(
        {
            **{key: [value.decode() for value in values] for key, values in known.items()},
            "identities": [value.decode() for value in identities],
        }
    )


def end_as_asked(request: EchoRequest, context: grpc.ServicerContext) -> None:
    """Ends the call with the status that the request names, if any."""
    if request.HasField("status"):
        context.abort(CODES[request.status.code], request.status.message)


def pass_through(gate: Gate, index: int, context: grpc.ServicerContext) -> None:
    """If the gate is before this index, waits until it opens or the call is over."""
    if gate.path and gate.before == index:
        while context.is_active() and not Path(gate.path).exists():
            time.sleep(0.01)


class EchoServicer(echo_pb2_grpc.EchoServiceServicer):
    """The handlers."""

    def Unary(self, request: EchoRequest, context: grpc.ServicerContext) -> EchoResponse:
        act(request, context)
        pass_through(request.gate, 0, context)
        echo_metadata(context)
        end_as_asked(request, context)
        if request.act == "wrong type":
            return request  # type: ignore[return-value]
        if request.act == "say who calls":
            return EchoResponse(text=who_calls(context))
        return EchoResponse(text=request.text, padding=zeros(request.padding))

    Quick = Unary
    QuickAgain = Unary
    Cached = Unary

    def ServerStream(
        self, request: EchoRequest, context: grpc.ServicerContext
    ) -> Iterator[EchoResponse]:
        act(request, context)
        sizes = request.sizes or [request.padding] * request.count
        for index, size in enumerate(sizes):
            pass_through(request.gate, index, context)
            if request.seconds:
                yield EchoResponse(transient=f"about {index}")
                sleep(request.seconds, context)
            yield EchoResponse(text=request.text, index=index, padding=zeros(size))
        pass_through(request.gate, len(sizes), context)
        end_as_asked(request, context)

    Detached = ServerStream
    Narrow = ServerStream
    Steady = ServerStream

    def ClientStream(
        self, requests: Iterator[EchoRequest], context: grpc.ServicerContext
    ) -> EchoResponse:
        texts = []
        for request in requests:
            act(request, context)
            end_as_asked(request, context)
            texts.append(request.text)
            if request.act == "return":
                break
        return EchoResponse(text="".join(texts), index=len(texts))

    def Bidi(
        self, requests: Iterator[EchoRequest], context: grpc.ServicerContext
    ) -> Iterator[EchoResponse]:
        echo_metadata(context)
        for index, request in enumerate(requests):
            act(request, context)
            yield EchoResponse(text=request.text, index=index, padding=zeros(request.padding))
            end_as_asked(request, context)
            if request.act == "return":
                return

    Talk = Bidi
    TalkAgain = Bidi
    TalkFast = Bidi
    Listen = ClientStream

    def Nothing(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        return request


app = application("echo", {echo_pb2.DESCRIPTOR.services_by_name["EchoService"]: EchoServicer()})
