"""Runs a server's interceptors around a handler, as `grpc.server` does.

An interceptor may return any `grpc.RpcMethodHandler`: of another kind than the method's, as one
that only aborts often is, and with serializers of its own. `Intercepted` calls it as a handler of
the method's kind, which takes and returns messages.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

import grpc

from forebay.routes import Method
from forebay_workers.handler.context import CallContext
from forebay_workers.handler.request_iterator import RequestIterator

Handler = Callable[..., Any]


class CallDetails(
    namedtuple("CallDetails", ("method", "invocation_metadata")), grpc.HandlerCallDetails
):
    """The path of the method, and the metadata that its route passes on."""


def refuse_other_interceptors(interceptors: Iterable[object]) -> None:
    """Raises TypeError for classes, interceptors of clients, and other objects."""
    for interceptor in interceptors:
        is_class = isinstance(interceptor, type)
        if is_class or not callable(getattr(interceptor, "intercept_service", None)):
            raise TypeError(
                f"{interceptor!r} is neither a grpc.ServerInterceptor nor a "
                "grpc.aio.ServerInterceptor; expected objects with a method intercept_service"
            )


def intercepted(
    method: Method, handler: Handler, interceptors: Sequence[grpc.ServerInterceptor]
) -> Handler:
    """Returns the handler with interceptors around it; the first one is the outermost."""
    return Intercepted(method, handler, interceptors) if interceptors else handler


class Intercepted:
    """A handler that asks the interceptors, for each call, which handler to run."""

    def __init__(
        self, method: Method, handler: Handler, interceptors: Sequence[grpc.ServerInterceptor]
    ) -> None:
        self._method = method
        self._interceptors = tuple(interceptors)
        self._innermost = method_handler(method, handler)

    def __call__(self, argument: Any, context: CallContext) -> Any:
        details = CallDetails(self._method.path, context.invocation_metadata())
        chosen = self._intercept(0, details)
        if chosen is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        is_operation = self._method.operation is not None
        if chosen.response_streaming and not (self._method.server_streaming or is_operation):
            raise TypeError(
                f"an interceptor returned a handler that streams responses for "
                f"{self._method.name}, which has one response"
            )
        return self._run(chosen, argument, context)

    def _intercept(self, index: int, details: Any) -> Any:
        if index == len(self._interceptors):
            return self._innermost
        return self._interceptors[index].intercept_service(
            lambda details: self._intercept(index + 1, details), details
        )

    def _run(self, chosen: Any, argument: Any, context: CallContext) -> Any:
        requests = self._requests(chosen, argument)
        if chosen.request_streaming:
            # The handler's own iterator is passed on as it is.
            argument = requests if requests is argument else RequestIterator(requests, context)
        else:
            argument = next(iter(requests), None)
            if argument is None:
                path = self._method.path
                context.abort(
                    grpc.StatusCode.UNIMPLEMENTED, f'"{path}" requires exactly one request message.'
                )
        result = behavior(chosen)(argument, context)
        if self._method.operation is not None and isinstance(result, Iterator):
            return self._operation(chosen, result)  # metadata, then the response
        if not self._method.server_streaming:
            return self._response(chosen, result)
        responses = result if chosen.response_streaming else [result]
        return self._responses(chosen, responses)

    def _requests(self, chosen: Any, argument: Any) -> Any:
        """The requests as the chosen handler reads them; the same iterator if it can be."""
        messages = argument if self._method.client_streaming else iter([argument])
        read = chosen.request_deserializer
        if read is self._innermost.request_deserializer:
            return messages
        sent = (message.SerializeToString() for message in messages)
        return sent if read is None else map(read, sent)

    def _response(self, chosen: Any, response: Any) -> Any:
        write = chosen.response_serializer
        if write is self._innermost.response_serializer:
            return response
        payload = response if write is None else write(response)
        return self._method.result_class.FromString(payload)

    def _responses(self, chosen: Any, responses: Any) -> Any:
        if chosen.response_serializer is self._innermost.response_serializer:
            return responses
        return self._parsed(chosen, responses)

    def _operation(self, chosen: Any, messages: Any) -> Any:
        write = chosen.response_serializer
        if write is self._innermost.response_serializer:
            return messages
        return _rewritten(messages, write)

    def _parsed(self, chosen: Any, responses: Any) -> Iterator[Any]:
        try:
            for response in responses:
                yield self._response(chosen, response)
        finally:
            close = getattr(responses, "close", None)
            if close is not None:
                close()


def _rewritten(messages: Any, write: Any) -> Generator[Any, None, Any]:
    """The messages that an operation's handler yields and returns, each in its own type."""

    def parsed(message: Any) -> Any:
        return message if write is None else type(message).FromString(write(message))

    try:
        while True:
            try:
                message = next(messages)
            except StopIteration as end:
                return None if end.value is None else parsed(end.value)
            yield parsed(message)
    finally:
        close = getattr(messages, "close", None)
        if close is not None:
            close()


_KINDS: dict[tuple[bool, bool], tuple[str, Callable[..., Any]]] = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


def method_handler(method: Method, handler: Handler) -> Any:
    """The handler as a server's interceptors get it."""
    _, make = _KINDS[method.client_streaming, method.server_streaming]
    return make(
        handler,
        request_deserializer=method.request_class.FromString,
        response_serializer=method.result_class.SerializeToString,
    )


def behavior(chosen: Any) -> Handler:
    """The function of a `grpc.RpcMethodHandler`."""
    name, _ = _KINDS[bool(chosen.request_streaming), bool(chosen.response_streaming)]
    function: Handler = getattr(chosen, name)
    return function
