"""Probes of unary methods: the context of a handler, and how it may end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import grpc

from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse
from tests.servicers.probing.metadata import METADATA_PROBES
from tests.servicers.probing.reporting import CALLED, result, text, until_inactive


class Refusal(grpc.Status):
    """A status for `abort_with_status`."""

    def __init__(self, code: Any, details: Any, trailing_metadata: Any) -> None:
        self.code, self.details, self.trailing_metadata = code, details, trailing_metadata


def at_first(request: EchoRequest, context: Any) -> EchoResponse:
    """All properties before the first setter, except those of the connection."""
    return text(
        [
            result(context.code),
            result(context.details),
            result(context.trailing_metadata),
            result(context.is_active),
            result(context.peer)[0],
            result(context.peer_identities),
            result(context.peer_identity_key),
            result(context.auth_context)[0],
            result(context.invocation_metadata)[0],
            result(context.time_remaining)[0],
        ]
    )


def no_deadline(request: EchoRequest, context: Any) -> EchoResponse:
    remaining = context.time_remaining()
    return text((type(remaining), remaining > 10**12, min(remaining, 5)))


def settings(request: EchoRequest, context: Any) -> EchoResponse:
    """What the setters return, and the getters after them."""
    return text(
        [
            result(context.set_code, grpc.StatusCode.OK),
            result(context.code),
            result(context.set_details, "text ☃"),
            result(context.details),
            result(context.set_details, b"bytes"),
            result(context.details),
            result(context.set_details, ""),
            result(context.details),
            result(context.set_trailing_metadata, [("x-a", "1")]),
            result(context.trailing_metadata),
            result(context.set_trailing_metadata, None),
            result(context.trailing_metadata),
            result(context.set_compression, grpc.Compression.NoCompression),
            result(context.disable_next_message_compression),
            result(context.add_callback, lambda: None),
        ]
    )


def details_of_other_types(request: EchoRequest, context: Any) -> EchoResponse:
    return text([result(context.set_details, 5), result(context.set_details, None)])


def details_without_a_code(request: EchoRequest, context: Any) -> EchoResponse:
    context.set_details("only details")
    return text("done")


def code(value: Any, details: Any = "because") -> Callable[..., EchoResponse]:
    def probe(request: EchoRequest, context: Any) -> EchoResponse:
        context.set_code(value)
        context.set_details(details)
        context.set_trailing_metadata((("x-code", repr(context.code())),))
        return text("done")

    return probe


def code_then(raised: bool) -> Callable[..., Any]:
    def probe(request: EchoRequest, context: Any) -> None:
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details("gone")
        if raised:
            raise RuntimeError("a secret")

    return probe


def abort(value: Any, details: Any = "because") -> Callable[..., Any]:
    def probe(request: EchoRequest, context: Any) -> None:
        context.abort(value, details)

    return probe


def abort_with(value: Any, details: Any, trailing: Any) -> Callable[..., Any]:
    def probe(request: EchoRequest, context: Any) -> None:
        context.set_trailing_metadata((("x-before", "1"),))
        context.abort_with_status(Refusal(value, details, trailing))

    return probe


def abort_raises(request: EchoRequest, context: Any) -> EchoResponse:
    first = result(context.abort, grpc.StatusCode.NOT_FOUND, "gone")
    seen = (first, context.code(), context.details())
    context.set_trailing_metadata((("x-seen", repr(seen)),))
    return text("went on")


def abort_details_of_another_type(request: EchoRequest, context: Any) -> EchoResponse:
    return text(result(context.abort, grpc.StatusCode.NOT_FOUND, 5))


def abort_twice(request: EchoRequest, context: Any) -> None:
    result(context.abort, grpc.StatusCode.NOT_FOUND, "gone")
    context.abort(grpc.StatusCode.DATA_LOSS, "lost")


def abort_then_raise(request: EchoRequest, context: Any) -> None:
    try:
        context.abort(grpc.StatusCode.NOT_FOUND, "gone")
    finally:
        raise RuntimeError("in cleaning up")


def abort_wrapped(request: EchoRequest, context: Any) -> None:
    try:
        context.abort(grpc.StatusCode.NOT_FOUND, "gone")
    except Exception as error:
        raise RuntimeError("wrapped") from error


def cancelled(request: EchoRequest, context: Any) -> EchoResponse:
    """What the context reports after the handler has cancelled its call."""
    first = result(context.cancel)
    until_inactive(context)
    CALLED.append(
        repr(
            [
                first,
                result(context.cancel),
                result(context.code),
                result(context.details),
                result(context.send_initial_metadata, ()),
                result(context.set_trailing_metadata, ()),
                result(context.set_code, grpc.StatusCode.NOT_FOUND),
                result(context.set_details, "gone"),
                result(context.invocation_metadata)[0],
                result(context.time_remaining)[0],
            ]
        )
    )
    return text("too late")


def callbacks(request: EchoRequest, context: Any) -> EchoResponse:
    """Callbacks run in order when the call has ended, in spite of one that raises."""

    def fails() -> None:
        CALLED.append("fails")
        raise RuntimeError("in a callback")

    def last() -> None:
        CALLED.append(f"{context.is_active()} {context.add_callback(last)}")

    for callback in (lambda: CALLED.append("first"), fails, last):
        context.add_callback(callback)
    return text(CALLED)


def after_the_end(request: EchoRequest, context: Any) -> EchoResponse:
    """A thread of the handler's own sees that the call has ended."""

    def watch() -> None:
        until_inactive(context)
        CALLED.append("not active")

    threading.Thread(target=watch, daemon=True).start()
    return text("begun")


def none(request: EchoRequest, context: Any) -> None:
    """No response."""


def wrong_type(request: EchoRequest, context: Any) -> str:
    return "text"


def raises(error: Exception) -> Callable[..., Any]:
    def probe(request: EchoRequest, context: Any) -> None:
        raise error

    return probe


OK, NOT_FOUND = grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND

PROBES: dict[str, Callable[..., Any]] = {
    "at first": at_first,
    "no deadline": no_deadline,
    "settings": settings,
    "details of other types": details_of_other_types,
    "details without a code": details_without_a_code,
    "code": code(NOT_FOUND),
    "code OK": code(OK),
    "code None": code(None),
    "code of a number": code(5),
    "code 0": code(0),
    "code of a text": code("NOT_FOUND"),
    "code, details of bytes": code(NOT_FOUND, b"\xe2\x98\x83"),
    "code, details that are not UTF-8": code(NOT_FOUND, b"\xff!"),
    "code, then no response": code_then(raised=False),
    "code, then an exception": code_then(raised=True),
    "abort": abort(NOT_FOUND),
    "abort without details": abort(NOT_FOUND, ""),
    "abort, details of bytes": abort(NOT_FOUND, b"bytes"),
    "abort with several lines": abort(NOT_FOUND, "line 1\nline 2: 100% ☃\ttab"),
    "abort with OK": abort(OK),
    "abort with None": abort(None),
    "abort with a number": abort(5),
    "abort with a status": abort_with(NOT_FOUND, "gone", (("x-a", "1"),)),
    "abort with a status without metadata": abort_with(NOT_FOUND, "gone", None),
    "abort with a status of bytes": abort_with(NOT_FOUND, b"gone", [(b"x-a", b"1")]),
    "abort with a status that is OK": abort_with(OK, "fine", None),
    "abort raises": abort_raises,
    "abort, details of another type": abort_details_of_another_type,
    "abort twice": abort_twice,
    "abort, then raise": abort_then_raise,
    "abort, wrapped": abort_wrapped,
    "cancelled": cancelled,
    "callbacks": callbacks,
    "after the end": after_the_end,
    "no response": none,
    "wrong type": wrong_type,
    "exception": raises(RuntimeError("a secret")),
    "StopIteration": raises(StopIteration("a secret")),
    "RpcError": raises(grpc.RpcError("of another call")),
    **METADATA_PROBES,
}
