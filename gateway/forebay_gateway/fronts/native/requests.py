"""The requests of one RPC: DATA in, messages out, and the credit that its caller gets."""

from __future__ import annotations

import asyncio
from typing import Protocol

import grpc

from forebay_gateway.fronts.native.head import RpcError
from forebay_gateway.fronts.native.http2 import STREAM_WINDOW_BYTES
from forebay_gateway.fronts.native.messages import MessageReader

_LARGE_WINDOW_BYTES = 1 << 20
"""For the rest of a large message that is being read; else its caller would wait a round trip for
each 64 KiB."""

_NO_MESSAGES = MessageReader(b"", 0)
"""The reader of RPCs that are over: it takes no messages."""


class FlowControl(Protocol):
    """What the requests of an RPC need of its connection."""

    loop: asyncio.AbstractEventLoop

    def give_back(self, stream_id: int, size: int) -> None:
        """Lets the caller send so many bytes more, which were read."""

    def set_window(self, stream_id: int, size: int) -> None:
        """Sets what the caller may send before it is read."""


class Requests:
    """One task reads at a time. `ended`: the caller sends no more."""

    __slots__ = (
        "_arriving",
        "_flow",
        "_is_closed",
        "_messages",
        "_reading",
        "_stream_id",
        "_unread",
        "_window_is_large",
        "ended",
    )

    def __init__(
        self, flow: FlowControl, stream_id: int, encoding: bytes, max_message_bytes: int
    ) -> None:
        self.ended = False
        self._flow = flow
        self._stream_id = stream_id
        self._messages = MessageReader(encoding, max_message_bytes)
        self._arriving: asyncio.Future[None] | None = None
        self._reading: asyncio.Future[None] | None = None
        self._unread = 0
        """Bytes on the wire that the flow control has not given back."""
        self._window_is_large = False
        self._is_closed = False

    async def arrival(self) -> None:
        """Returns when a part of a message is here, or the caller sends no more.

        It gives the caller no credit. Raises CancelledError once it is closed.
        """
        while not (self._messages or self._messages.has_part or self.ended):
            if self._is_closed:
                raise asyncio.CancelledError
            self._arriving = self._flow.loop.create_future()
            try:
                await self._arriving
            finally:
                self._arriving = None

    async def read(self) -> object:
        """The next message, or `grpc.aio.EOF`; raises CancelledError once it is closed.

        Raises RpcError, as `read_now`.
        """
        while (message := self.read_now()) is None:
            if self.ended:
                return grpc.aio.EOF
            if self._is_closed:
                raise asyncio.CancelledError
            self._reading = self._flow.loop.create_future()
            self._give_back(self._unread)
            self._widen()
            try:
                await self._reading
            finally:
                self._reading = None
        return message

    def read_now(self) -> bytes | None:
        """The next message if it is here; raises RpcError if it can't be decompressed."""
        if not self._messages:
            return None
        message, size = self._messages.pop()
        if self._window_is_large:
            self._set_window(STREAM_WINDOW_BYTES)
        self._give_back(min(size, self._unread))
        return message

    def feed(self, data: bytes, ended: bool) -> None:
        """Takes a DATA frame; raises RpcError for a message that is invalid or too large."""
        if ended:
            self.ended = True
        if self._is_closed:
            self._flow.give_back(self._stream_id, len(data))
            return
        self._unread += len(data)
        if data:
            self._messages.feed(data)
        if ended and self._messages.has_part:
            raise RpcError(grpc.StatusCode.INTERNAL, "the request stream ended within a message")
        if self._arriving is not None:
            if not self._arriving.done():
                self._arriving.set_result(None)
            return
        reading = self._reading
        if reading is None:
            return
        if self._messages or ended:
            if not reading.done():
                reading.set_result(None)
        else:
            self._give_back(self._unread)
            self._widen()

    def close(self) -> None:
        """Drops what was not read, and all that still comes."""
        self._is_closed = True
        self._messages = _NO_MESSAGES
        self._give_back(self._unread)

    def _give_back(self, size: int) -> None:
        if size:
            self._unread -= size
            self._flow.give_back(self._stream_id, size)

    def _widen(self) -> None:
        size = self._messages.message_bytes
        if size is not None and size > STREAM_WINDOW_BYTES and not self._window_is_large:
            self._set_window(min(size, _LARGE_WINDOW_BYTES))

    def _set_window(self, size: int) -> None:
        self._window_is_large = size > STREAM_WINDOW_BYTES
        self._flow.set_window(self._stream_id, size)
