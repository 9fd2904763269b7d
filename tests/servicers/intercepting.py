"""Interceptors written for `grpc.server`, which use nothing of Forebay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import grpc

from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse

SEEN: list[str] = []
"""Observations of interceptors; the servers run in this process."""

WHO: ContextVar[str] = ContextVar("WHO", default="nobody")

Continuation = Callable[[grpc.HandlerCallDetails], Any]


class Intercepting(grpc.ServerInterceptor):
    """An interceptor made from a function."""

    def __init__(self, intercept: Callable[[Continuation, Any], Any]) -> None:
        self._intercept = intercept

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        return self._intercept(continuation, handler_call_details)


class Chosen(grpc.ServerInterceptor):
    """Runs the interceptors that the test has chosen."""

    def __init__(self) -> None:
        self.interceptors: tuple[grpc.ServerInterceptor, ...] = ()

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        def run(index: int, details: Any) -> Any:
            if index == len(self.interceptors):
                return continuation(details)
            one = self.interceptors[index]
            return one.intercept_service(lambda later: run(index + 1, later), details)

        return run(0, handler_call_details)


def rebuilt(handler: Any, wrap: Callable[[Any], Any], **serializers: Any) -> Any:
    """The handler with its behavior wrapped, as libraries of interceptors do it."""
    kinds = {
        (False, False): (handler.unary_unary, grpc.unary_unary_rpc_method_handler),
        (False, True): (handler.unary_stream, grpc.unary_stream_rpc_method_handler),
        (True, False): (handler.stream_unary, grpc.stream_unary_rpc_method_handler),
        (True, True): (handler.stream_stream, grpc.stream_stream_rpc_method_handler),
    }
    behavior, make = kinds[handler.request_streaming, handler.response_streaming]
    kept = {
        "request_deserializer": handler.request_deserializer,
        "response_serializer": handler.response_serializer,
    }
    return make(wrap(behavior), **{**kept, **serializers})


def _named(name: str) -> Intercepting:
    def intercept(continuation: Continuation, details: Any) -> Any:
        metadata = [tuple(one) for one in details.invocation_metadata if one.key == "x-wish"]
        SEEN.append(f"{name} before {details.method} {metadata}")
        handler = continuation(details)
        kind = handler and (handler.request_streaming, handler.response_streaming)
        SEEN.append(f"{name} after {kind}")
        return handler

    return Intercepting(intercept)


def _abort(request: Any, context: grpc.ServicerContext) -> Any:
    context.set_trailing_metadata((("x-why", "no token"),))
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")


def _raises(continuation: Continuation, details: Any) -> Any:
    raise RuntimeError("a secret of the interceptor")


def _shouting(continuation: Continuation, details: Any) -> Any:
    """Wraps requests and responses, whether streams or not."""
    handler = continuation(details)

    def loud(request: EchoRequest) -> EchoRequest:
        return EchoRequest(text=request.text.upper(), count=request.count)

    def marked(response: EchoResponse) -> EchoResponse:
        return EchoResponse(text=response.text + "!", index=response.index)

    def wrap(behavior: Any) -> Any:
        def call(argument: Any, context: Any) -> Any:
            streams = handler.request_streaming
            result = behavior(map(loud, argument) if streams else loud(argument), context)
            return map(marked, result) if handler.response_streaming else marked(result)

        return call

    return rebuilt(handler, wrap)


def _in_bytes(continuation: Continuation, details: Any) -> Any:
    """Replaces the handler by one without serializers; it echoes the first request."""

    def answer(request: bytes) -> bytes:
        text = EchoRequest.FromString(request).text
        return EchoResponse(text=f"{type(request).__name__} {text}").SerializeToString()

    handler = continuation(details)

    def wrap(behavior: Any) -> Any:
        def call(argument: Any, context: Any) -> Any:
            requests = list(argument) if handler.request_streaming else [argument]
            answers = [answer(request) for request in requests]
            return iter(answers) if handler.response_streaming else answers[0]

        return call

    return rebuilt(handler, wrap, request_deserializer=None, response_serializer=None)


def _one_for_all(continuation: Continuation, details: Any) -> Any:
    """A unary handler in place of any; it answers the first request."""
    return grpc.unary_unary_rpc_method_handler(
        lambda request, context: EchoResponse(text=request.text + " alone"),
        request_deserializer=EchoRequest.FromString,
        response_serializer=EchoResponse.SerializeToString,
    )


def _with_variable(continuation: Continuation, details: Any) -> Any:
    SEEN.append(f"before: {WHO.get()}")
    WHO.set("the interceptor's caller")

    def wrap(behavior: Any) -> Any:
        def call(argument: Any, context: Any) -> Any:
            SEEN.append(f"in the handler: {WHO.get()}")
            return behavior(argument, context)

        return call

    return rebuilt(continuation(details), wrap)


def _watching(continuation: Continuation, details: Any) -> Any:
    """Reports how each call ended, as interceptors for logs or metrics do."""

    def wrap(behavior: Any) -> Any:
        def call(argument: Any, context: Any) -> Any:
            context.add_callback(lambda: SEEN.append("the call ended"))
            try:
                return behavior(argument, context)
            finally:
                SEEN.append(f"returned: {context.code()} {context.details()!r}")

        return call

    return rebuilt(continuation(details), wrap)


def _generator(continuation: Continuation, details: Any) -> Any:
    """Reads responses one by one, and adds one."""
    handler = continuation(details)
    if not handler.response_streaming:
        return handler

    def wrap(behavior: Any) -> Any:
        def call(argument: Any, context: Any) -> Iterator[EchoResponse]:
            yield from behavior(argument, context)
            yield EchoResponse(text="the last")

        return call

    return rebuilt(handler, wrap)


INTERCEPTORS: dict[str, tuple[Intercepting, ...]] = {
    "none": (),
    "two in order": (_named("outer"), _named("inner")),
    "abort for any kind": (
        Intercepting(lambda *_: grpc.unary_unary_rpc_method_handler(_abort)),
        _named("never reached"),
    ),
    "None": (_named("outer"), Intercepting(lambda *_: None)),
    "raises": (Intercepting(_raises),),
    "wraps requests and responses": (Intercepting(_shouting),),
    "wraps twice": (Intercepting(_shouting), Intercepting(_shouting)),
    "in bytes": (Intercepting(_in_bytes),),
    "in bytes, wrapped": (Intercepting(_watching), Intercepting(_in_bytes)),
    "one handler for all": (Intercepting(_one_for_all),),
    "a context variable": (Intercepting(_with_variable),),
    "watching": (Intercepting(_watching),),
    "a generator": (Intercepting(_generator),),
}
