"""Probes of streams: the iterator over requests, and streams of responses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse
from tests.servicers.probing.reporting import CALLED, result, text, until_inactive
from tests.servicers.probing.unary import NOT_FOUND, OK, none, raises


def iterator(requests: Any, context: Any) -> EchoResponse:
    """Its methods, and how it ends."""
    return text(
        [
            iter(requests) is requests,
            requests.next().text,
            next(requests).text,
            [request.text for request in requests],
            result(next, requests),
            result(requests.next),
            [*requests],
            result(len, requests),
        ]
    )


def iterator_in_threads(requests: Any, context: Any) -> EchoResponse:
    texts: list[str] = []
    for _ in range(3):
        thread = threading.Thread(target=lambda: texts.append(next(requests).text))
        thread.start()
        thread.join()
    return text(texts)


def iterator_after_cancel(requests: Any, context: Any) -> EchoResponse:
    next(requests)
    context.cancel()
    until_inactive(context)
    CALLED.append(repr([result(next, requests)[1], result(requests.next)[1]]))
    CALLED.append(f"{isinstance(_raised(requests), grpc.RpcError)}")
    return text("too late")


def _raised(requests: Any) -> Exception | None:
    try:
        next(requests)
    except Exception as error:
        return error
    return None


def iterator_after_the_end(requests: Any, context: Any) -> EchoResponse:
    next(requests)

    def read_on() -> None:
        until_inactive(context)
        CALLED.append(repr(result(next, requests)))

    threading.Thread(target=read_on, daemon=True).start()
    return text("begun")


def responses_then(end: Callable[[Any], Any]) -> Callable[..., Iterator[EchoResponse]]:
    def probe(request: EchoRequest, context: Any) -> Iterator[Any]:
        context.set_trailing_metadata((("x-before", "1"),))
        yield text("one")
        yield end(context)

    return probe


def late_initial(request: EchoRequest, context: Any) -> Iterator[EchoResponse]:
    yield text("one")
    yield text(result(context.send_initial_metadata, ()))


def _set(value: Any) -> Callable[[Any], EchoResponse]:
    def end(context: Any) -> EchoResponse:
        context.set_code(value)
        context.set_details("because")
        return text("two")

    return end


def _raise(error: Exception) -> Callable[[Any], EchoResponse]:
    def end(context: Any) -> EchoResponse:
        raise error

    return end


def _swallowed(context: Any) -> EchoResponse:
    result(context.abort, grpc.StatusCode.NOT_FOUND, "gone")
    return text("after the abort")


REQUEST_PROBES: dict[str, Callable[..., Any]] = {
    "iterator": iterator,
    "iterator in threads": iterator_in_threads,
    "iterator after cancel": iterator_after_cancel,
    "iterator after the end": iterator_after_the_end,
}
STREAMS: dict[str, Callable[..., Any]] = {
    "abort": responses_then(lambda context: context.abort(NOT_FOUND, "gone")),
    "abort with OK": responses_then(lambda context: context.abort(OK, "fine")),
    "swallowed abort": responses_then(_swallowed),
    "code": responses_then(_set(NOT_FOUND)),
    "code of a number": responses_then(_set(5)),
    "exception": responses_then(_raise(RuntimeError("a secret"))),
    "wrong type": responses_then(lambda context: "text"),
    "late initial metadata": late_initial,
    "no iterator": none,
    "cancel": responses_then(lambda context: context.cancel() or text("two")),
    "exception before": raises(RuntimeError("a secret")),
    "an iterator": lambda request, context: iter([text("one"), text("two")]),
}
