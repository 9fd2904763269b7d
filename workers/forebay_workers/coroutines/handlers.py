"""A coroutine handler with the interceptors of `grpc.aio` around it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from forebay.routes import Method
from forebay_workers.coroutines.kinds import is_coroutine
from forebay_workers.handler.context import CallContext
from forebay_workers.handler.interceptors import CallDetails, method_handler
from forebay_workers.handler.operation_metadata import Metadata


class CoroutineHandler:
    """A handler that runs on the event loop. The interceptors choose the handler of each call.

    As in `grpc.aio.server`, interceptors may wrap or return an ordinary handler, which then runs in
    a thread.
    """

    def __init__(
        self, method: Method, handler: Callable[..., Any], interceptors: Sequence[Any] = ()
    ) -> None:
        self.method = method
        self._interceptors = tuple(interceptors)
        self._innermost = method_handler(method, handler)

    async def chosen(self, call: CallContext) -> Any:
        """Returns the `grpc.RpcMethodHandler` to run; None if an interceptor returned none."""
        if not self._interceptors:
            return self._innermost
        return await self._intercept(0, CallDetails(self.method.path, call.invocation_metadata()))

    async def _intercept(self, index: int, details: Any) -> Any:
        if index == len(self._interceptors):
            return self._innermost
        continuation = partial(self._intercept, index + 1)
        return await self._interceptors[index].intercept_service(continuation, details)

    def request(self, chosen: Any, message: Any) -> Any:
        """Converts a request with the chosen handler's own deserializer."""
        read = chosen.request_deserializer
        if read is self._innermost.request_deserializer:
            return message
        sent = message.SerializeToString()
        return sent if read is None else read(sent)

    def response(self, chosen: Any, response: Any) -> Any:
        """Converts a response of the chosen handler to the method's message."""
        write = chosen.response_serializer
        if write is self._innermost.response_serializer:
            return response
        payload = response if write is None else write(response)
        return self.method.result_class.FromString(payload)

    def metadata(self, chosen: Any, metadata: Metadata) -> Metadata:
        """Converts an operation's metadata with the chosen handler's own serializer."""
        write = chosen.response_serializer
        if write is None or write is self._innermost.response_serializer:
            return metadata
        return Metadata(type(metadata.message).FromString(write(metadata.message)))


def is_aio_interceptor(interceptor: object) -> bool:
    """Whether it is an interceptor of `grpc.aio`: its method is a coroutine function."""
    return inspect.iscoroutinefunction(getattr(interceptor, "intercept_service", None))


def coroutine_handler(
    method: Method, handler: Callable[..., Any], interceptors: Iterable[Any]
) -> CoroutineHandler | None:
    """Returns the handler with its interceptors if it runs on the event loop, otherwise None.

    Raises TypeError for interceptors that would not run: those of `grpc.server` around a coroutine,
    and those of `grpc.server` and `grpc.aio` together.
    """
    around = tuple(interceptors)
    by_grpc_aio = [one for one in around if is_aio_interceptor(one)]
    others = [one for one in around if not is_aio_interceptor(one)]
    if others and by_grpc_aio:
        raise TypeError(
            f"{others[0]!r} is an interceptor of grpc.server and {by_grpc_aio[0]!r} one of "
            f"grpc.aio; {method.name} can have one kind around it: rewrite the others"
        )
    if others and is_coroutine(handler):
        raise TypeError(
            f"{method.name} is a coroutine, and {others[0]!r} is an interceptor of grpc.server; "
            "write it as a grpc.aio.ServerInterceptor, whose intercept_service is a coroutine"
        )
    if by_grpc_aio or is_coroutine(handler):
        return CoroutineHandler(method, handler, around)
    return None
