"""One RPC of a connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, NoReturn

import grpc

from forebay.metadata import Pairs
from forebay_gateway.fronts.native.head import (
    RESPONSE_HEADERS,
    Headers,
    RequestHead,
    RpcError,
    metadata_headers,
    status_headers,
)
from forebay_gateway.fronts.native.http2 import NGH2Error
from forebay_gateway.fronts.native.link import Link
from forebay_gateway.fronts.native.requests import Requests
from forebay_gateway.identity.principal import NOBODY
from forebay_gateway.rpc.context import Handler

_BUFFERED_BYTES = 64 << 10
"""A write waits while more of the RPC's responses wait for the caller to read."""
_COPIED_BYTES = 16 << 10
"""Larger responses are not copied: they are queued after their prefix."""
_PROVOKED = frozenset({grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.DEADLINE_EXCEEDED})
"""Errors that a caller can get at will, by an unknown method or a deadline of 1 ns."""
STALL_S = 60
"""How long responses of an RPC that is over may wait for a caller that reads nothing."""

_log = logging.getLogger(__name__)


class NativeRpc:
    """Implements `Context` on a stream of HTTP/2.

    `is_over`: the status was sent, or the caller has disconnected. The connection keeps the RPC
    until the stream is closed.
    """

    __slots__ = (
        "_connection",
        "_deadline",
        "_handler",
        "_requests",
        "_sent_headers",
        "_stall",
        "_timer",
        "_trailing",
        "code",
        "head",
        "is_over",
        "is_provoked",
        "principal",
        "room",
        "stream_id",
        "task",
    )

    def __init__(
        self, connection: Link[NativeRpc], stream_id: int, head: RequestHead, handler: Handler
    ) -> None:
        self.stream_id = stream_id
        self.head = head
        self.is_over = False
        self.principal = NOBODY
        self.code: grpc.StatusCode | None = None
        self.is_provoked = False
        """Whether invalid requests or one of `_PROVOKED` ended it, perhaps while its handler ran.

        The gateway or the handler decides on all other errors, such as RESOURCE_EXHAUSTED and
        UNAUTHENTICATED: the reset that follows those cuts off no work.
        """
        self.room: asyncio.Future[None] | None = None
        """Done when a write that waits for the caller to read may go on."""
        self._stall = (0, 0)
        self._connection = connection
        self._handler = handler
        self._requests = Requests(
            connection, stream_id, head.encoding, connection.limits.max_request_bytes
        )
        self._sent_headers = False
        self._trailing: Headers = []
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        loop = self._connection.loop
        timeout_s = self.head.timeout_s
        if timeout_s is not None:
            self._deadline = loop.time() + timeout_s
            self._timer = loop.call_later(timeout_s, self._expire)
        self.task = loop.create_task(self._run())
        return self.task

    # Context

    def peer(self) -> str:
        return self._connection.peer

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return self._connection.auth_context

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]]:
        return self.head.metadata

    def time_remaining(self) -> float | None:
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - self._connection.loop.time())

    def arrival(self) -> Coroutine[Any, Any, None]:
        return self._requests.arrival()

    async def read(self) -> object:
        try:
            return await self._requests.read()
        except RpcError as error:
            self._end_provoked(error)
            raise asyncio.CancelledError from error

    def read_now(self) -> bytes | None:
        try:
            return self._requests.read_now()
        except RpcError as error:
            self._end_provoked(error)
            raise asyncio.CancelledError from error

    async def send_initial_metadata(self, pairs: Pairs) -> None:
        self._send_headers(metadata_headers(pairs))

    async def write(self, message: bytes) -> None:
        self._send_headers()
        await self._check_size(message)
        if self._send_message(message) > _BUFFERED_BYTES:
            await self._connection.wait_for_room(self, _BUFFERED_BYTES)
            if self.is_over:
                raise asyncio.CancelledError

    def set_trailing_metadata(self, pairs: Pairs) -> None:
        self._trailing = metadata_headers(pairs)

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Pairs = ()
    ) -> NoReturn:
        if self.is_over:
            raise asyncio.CancelledError
        if trailing_metadata:
            self._trailing = metadata_headers(trailing_metadata)
        self._finish(code, details)
        raise grpc.aio.AbortError("Locally aborted.")

    # The connection

    @property
    def requests_ended(self) -> bool:
        """Whether the caller sends no more."""
        return self._requests.ended

    def receive(self, data: bytes, ended: bool) -> None:
        """Takes a DATA frame."""
        try:
            self._requests.feed(data, ended)
        except RpcError as error:
            self._end_provoked(error)

    def refuse(self, error: RpcError) -> None:
        """Ends the RPC with the error, and cancels its handler."""
        if not self.is_over:
            self._finish(error.code, error.text)
            self._cancel()

    def disconnect(self) -> None:
        """The stream was closed: cancels the handler, if it still runs."""
        if not self.is_over:
            self._be_over()
            self._cancel()

    def stalls(self, size: int) -> bool:
        """Whether the caller reads none of the `size` bytes that are left; called once a second."""
        before, seconds = self._stall
        self._stall = (size, seconds + 1 if size and size == before else 0)
        return self._stall[1] >= STALL_S

    async def _run(self) -> None:
        try:
            response = await self._handler.serve(self)
            if response is not None and not self.is_over:
                await self._check_size(response)
            self._finish(grpc.StatusCode.OK, "", response)
        except grpc.aio.AbortError:
            pass  # the status was sent
        except asyncio.CancelledError:
            # Not raised again: the task would keep its traceback, whose frames keep the request
            # until the garbage collector runs, if one of them refers to the task.
            self._finish(grpc.StatusCode.CANCELLED, "the server cancelled the RPC")
        except Exception:
            _log.exception("%s failed", self.head.path)
            self._finish(grpc.StatusCode.UNKNOWN, "the handler failed")
        finally:
            self.task = None  # else a cycle would keep the request until it is collected

    def _expire(self) -> None:
        self.refuse(RpcError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))

    def _end_provoked(self, error: RpcError) -> None:
        if not self.is_over:
            self.is_provoked = True
            self.refuse(error)

    async def _check_size(self, message: bytes) -> None:
        limit = self._connection.limits.max_response_bytes
        if len(message) > limit:
            text = f"Sent message larger than max ({len(message)} vs. {limit})"
            await self.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)

    def _send_headers(self, headers: Headers | None = None) -> None:
        """Raises CancelledError after a disconnect."""
        if self.is_over:
            raise asyncio.CancelledError
        if self._sent_headers:
            return
        self._sent_headers = True
        every = RESPONSE_HEADERS + headers if headers else RESPONSE_HEADERS
        try:
            self._connection.h2.send_response(self.stream_id, every)
        except NGH2Error as error:
            raise asyncio.CancelledError from error
        self._connection.flush_soon(forgive=True)

    def _send_message(self, message: bytes) -> int:
        """Returns how many bytes of responses wait to be sent."""
        connection, h2 = self._connection, self._connection.h2
        prefix = b"\0" + len(message).to_bytes(4, "big")
        try:
            if len(message) < _COPIED_BYTES:
                h2.send_data(self.stream_id, prefix + message)
            else:
                h2.send_data(self.stream_id, prefix)
                h2.send_data(self.stream_id, message)
        except NGH2Error as error:
            raise asyncio.CancelledError from error
        connection.on_queued()
        size: int = h2.queued_body_size(self.stream_id)
        return size

    def _finish(self, code: grpc.StatusCode, text: str = "", response: bytes | None = None) -> None:
        if self.is_over:
            return
        self.code = code
        if code in _PROVOKED:
            self.is_provoked = True
        connection, h2 = self._connection, self._connection.h2
        trailers = status_headers(code, text, self._trailing)
        try:
            if response is not None:
                self._send_headers()
                self._send_message(response)
            if self._sent_headers:
                h2.send_trailers(self.stream_id, trailers)
            elif code is grpc.StatusCode.OK:
                h2.send_response(self.stream_id, RESPONSE_HEADERS)
                h2.send_trailers(self.stream_id, trailers)
            else:
                h2.send_response(self.stream_id, RESPONSE_HEADERS + trailers, end_stream=True)
        except (NGH2Error, asyncio.CancelledError):
            pass  # the stream is gone; its end is reported next
        self._be_over()
        connection.on_finished(self)

    def _be_over(self) -> None:
        self.is_over = True
        if self._timer is not None:
            self._timer.cancel()
        self._requests.close()
        if self.room is not None and not self.room.done():
            self.room.set_result(None)

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()
