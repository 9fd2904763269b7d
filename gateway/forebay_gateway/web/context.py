"""The handlers' context over an exchange of HTTP, and how an RPC runs to its end.

A protocol says by `Requests` how it reads requests, and by `Responses` how it writes responses and
the status.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import grpc

from forebay.errors import ForebayError, MethodUnknown
from forebay.metadata import Pairs
from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.identity.principal import NOBODY
from forebay_gateway.rpc.context import Context, Handler
from forebay_gateway.rpc.status import abort
from forebay_gateway.web.exchange import Exchange
from forebay_gateway.web.metadata import Metadata, request_metadata
from forebay_gateway.web.methods import WebMethod

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Status:
    """How an RPC ended; its details are in the trailing metadata, as gRPC has them."""

    code: grpc.StatusCode
    text: str = ""
    trailing: Pairs = ()

    @property
    def is_ok(self) -> bool:
        return self.code is grpc.StatusCode.OK


class Requests(Protocol):
    """The request messages of an RPC, as bytes of protobuf."""

    async def read(self) -> object:
        """Like `Context.read`; raises ForebayError for bytes that are not a message."""

    def read_now(self) -> bytes | None:
        """Like `Context.read_now`."""


class Responses(Protocol):
    """Writes what the handler responds. `begin` comes once, before everything else."""

    async def begin(self, initial: Pairs) -> None:
        """Gets the initial metadata."""

    async def message(self, message: bytes) -> None:
        """Sends a response, bytes of protobuf; waits while the caller reads too slowly."""

    async def end(self, status: Status) -> None:
        """Ends the response of HTTP with the status."""


class WebContext:
    """Implements `Context`; see `serve_rpc`.

    `timeout_s` is the caller's, None without one. The status of `abort` is sent when the handler
    has returned.
    """

    __slots__ = (
        "_deadline",
        "_has_begun",
        "_loop",
        "_max_response_bytes",
        "_metadata",
        "_requests",
        "_responses",
        "_trailing",
        "exchange",
        "principal",
        "status",
    )

    def __init__(
        self,
        exchange: Exchange,
        metadata: Metadata,
        timeout_s: float | None,
        requests: Requests,
        responses: Responses,
        max_response_bytes: int,
    ) -> None:
        self.exchange = exchange
        self.principal = NOBODY
        self.status: Status | None = None
        self._loop = asyncio.get_running_loop()
        self._metadata = metadata
        self._deadline = None if timeout_s is None else self._loop.time() + timeout_s
        self._requests = requests
        self._responses = responses
        self._max_response_bytes = max_response_bytes
        self._has_begun = False
        self._trailing: Pairs = ()

    @property
    def code(self) -> grpc.StatusCode | None:
        return None if self.status is None else self.status.code

    @property
    def deadline(self) -> float | None:
        """In the event loop's time."""
        return self._deadline

    @property
    def task(self) -> asyncio.Task[Any] | None:
        return asyncio.current_task()

    def peer(self) -> str:
        return self.exchange.peer()

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return self.exchange.auth_context()

    def invocation_metadata(self) -> Metadata:
        return self._metadata

    def time_remaining(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - self._loop.time())

    async def arrival(self) -> None:
        """Returns at once: of a body, only its next part is read."""

    async def read(self) -> object:
        return await self._requests.read()

    def read_now(self) -> bytes | None:
        return self._requests.read_now()

    async def send_initial_metadata(self, pairs: Pairs) -> None:
        self._check_presence()
        if not self._has_begun:
            self._has_begun = True
            await self._responses.begin(pairs)

    async def write(self, message: bytes) -> None:
        if len(message) > self._max_response_bytes:
            limit = self._max_response_bytes
            text = f"Sent message larger than max ({len(message)} vs. {limit})"
            await self.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        await self.send_initial_metadata(())
        await self._responses.message(message)

    def set_trailing_metadata(self, pairs: Pairs) -> None:
        self._trailing = pairs

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Pairs = ()
    ) -> NoReturn:
        self._check_presence()
        self.status = Status(code, details, trailing_metadata or self._trailing)
        raise grpc.aio.AbortError("Locally aborted.")

    async def end(self, status: Status | None = None) -> None:
        """Sends the status: that of `abort`; or this one; or OK."""
        status = self.status or status or Status(grpc.StatusCode.OK, "", self._trailing)
        self.status = status
        if not self._has_begun:
            self._has_begun = True
            await self._responses.begin(())
        await self._responses.end(status)

    def _check_presence(self) -> None:
        if self.exchange.has_left or self.status is not None:
            raise asyncio.CancelledError


ReadTimeout = Callable[[Mapping[bytes, bytes]], float | None]
"""Returns the caller's timeout in seconds, from the headers; raises InvalidRequest."""


async def serve_rpc(
    exchange: Exchange,
    method: WebMethod,
    limits: FrontLimits,
    requests: Requests,
    responses: Responses,
    read_timeout: ReadTimeout,
) -> None:
    """Runs the method's handler, and sends the status. Nothing is sent to a caller that has left.

    The handler is cancelled at the caller's deadline, and when the caller leaves.
    """
    metadata: Metadata = []
    timeout_s, handler = None, method.handler
    try:
        metadata = request_metadata(exchange.scope["headers"])
        timeout_s = read_timeout(exchange.headers)
    except ForebayError as error:
        handler = _failing(error)
    if method.client_streaming:
        requests = _NoRequestStream(method.path)
    context = WebContext(
        exchange, metadata, timeout_s, requests, responses, limits.max_response_bytes
    )
    status = await _run(handler, context)
    if exchange.has_left:
        return
    try:
        await context.end(status)
    except ValueError:  # of metadata that gRPC does not allow
        _log.exception("%s failed", method.path)
        context.set_trailing_metadata(())
        context.status = Status(grpc.StatusCode.UNKNOWN, "the handler failed")
        await context.end()


async def _run(handler: Handler, context: WebContext) -> Status | None:
    """The status that the front ends the RPC with; None for the handler's."""
    exchange, loop = context.exchange, asyncio.get_running_loop()
    scope = asyncio.timeout_at(context.deadline)

    def leave() -> None:
        if not scope.expired():
            scope.reschedule(loop.time())

    try:
        async with scope:
            exchange.on_left(leave)
            await exchange.read_small_body()
            await _serve(handler, context)
    except grpc.aio.AbortError:
        return None
    except asyncio.CancelledError:
        if not exchange.has_left:
            raise
    except Exception as error:
        if scope.expired():
            return Status(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        _log.error("%s failed", exchange.scope["path"], exc_info=error)
        return Status(grpc.StatusCode.UNKNOWN, "the handler failed")
    finally:
        exchange.close()
    return None


async def _serve(handler: Handler, context: WebContext) -> None:
    try:
        response = await handler.serve(context)
        if response is not None:
            await context.write(response)
    except ForebayError as error:  # of messages, where the handler does not see it
        await abort(context, error)


def _failing(error: ForebayError) -> Handler:
    async def fail(context: Context) -> NoReturn:
        raise error

    return Handler(fail, streams_responses=False)


class _NoRequestStream:
    """The requests of a method that takes a stream of them."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def read(self) -> NoReturn:
        raise MethodUnknown(
            f"{self._path} takes a stream of requests, which HTTP/1.1 can't carry: call it by gRPC"
        )

    def read_now(self) -> None:
        """None: there is none."""
