"""The messages in the DATA frames of a request. Pure.

Each has a flag, whether it is compressed, and its length, before it
(https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). A frame may hold a part of a
message, or several. A length over the limit is refused before anything of the message is kept.
A message is decompressed when it is read, not when it arrives: 64 KiB may become many MiB.
"""

from __future__ import annotations

import zlib
from collections import deque

from grpc import StatusCode

from forebay_gateway.fronts.native.head import RpcError

PREFIX_BYTES = 5
"""Flags and length in front of each message, in gRPC, gRPC-Web and Connect."""
_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}


class MessageReader:
    """Takes DATA as it comes; gives whole messages, decompressed."""

    __slots__ = ("_encoding", "_limit", "_message_bytes", "_messages", "_parts", "_size")

    def __init__(self, encoding: bytes, limit: int) -> None:
        self._encoding = encoding
        self._limit = limit
        self._messages: deque[tuple[bytes, bool]] = deque()
        self._parts: list[bytes] = []
        self._size = 0
        self._message_bytes: int | None = None

    def __bool__(self) -> bool:
        return bool(self._messages)

    @property
    def message_bytes(self) -> int | None:
        """The size of the message that is incomplete, with its prefix; None where unknown."""
        return self._message_bytes

    @property
    def has_part(self) -> bool:
        """Whether the beginning of a message is here."""
        return bool(self._size)

    def pop(self) -> tuple[bytes, int]:
        """The next message, and its size on the wire with its prefix.

        Raises RpcError for a message that can't be decompressed, or is too large then.
        """
        message, is_compressed = self._messages.popleft()
        whole = self._decompressed(message) if is_compressed else message
        return whole, len(message) + PREFIX_BYTES

    def feed(self, data: bytes) -> None:
        """Raises RpcError for a message that is too large on the wire, or has a wrong flag."""
        self._parts.append(data)
        self._size += len(data)
        if self._size < (self._message_bytes or PREFIX_BYTES):
            return
        buffer = data if len(self._parts) == 1 else b"".join(self._parts)
        at = 0
        while (size := self._size_at(buffer, at)) is not None and len(buffer) - at >= size:
            self._messages.append(self._message(buffer, at, size))
            at += size
        self._message_bytes = size
        self._size = len(buffer) - at
        self._parts = [buffer[at:]] if self._size else []

    def _size_at(self, buffer: bytes, at: int) -> int | None:
        if len(buffer) - at < PREFIX_BYTES:
            return None
        size = int.from_bytes(buffer[at + 1 : at + PREFIX_BYTES], "big")
        if size > self._limit:
            raise _too_large(size, self._limit)
        return size + PREFIX_BYTES

    def _message(self, buffer: bytes, at: int, size: int) -> tuple[bytes, bool]:
        """The message as it came, and whether it is compressed."""
        message = buffer[at + PREFIX_BYTES : at + size]
        if buffer[at] == 0:
            return message, False
        if buffer[at] > 1 or self._encoding not in _WINDOW_BITS:
            raise RpcError(
                StatusCode.INTERNAL,
                f"a message has the flag {buffer[at]}, and the grpc-encoding is "
                f"{self._encoding.decode()}",
            )
        return message, True

    def _decompressed(self, message: bytes) -> bytes:
        decompressor = zlib.decompressobj(_WINDOW_BITS[self._encoding])
        try:
            whole = decompressor.decompress(message, self._limit + 1)
        except zlib.error:
            raise _undecodable(self._encoding) from None
        if len(whole) > self._limit:
            raise _too_large(len(whole), self._limit)
        if not decompressor.eof:
            raise _undecodable(self._encoding)
        return whole


def _too_large(size: int, limit: int) -> RpcError:
    return RpcError(
        StatusCode.RESOURCE_EXHAUSTED, f"Received message larger than max ({size} vs. {limit})"
    )


def _undecodable(encoding: bytes) -> RpcError:
    return RpcError(StatusCode.INTERNAL, f"a message is not valid {encoding.decode()}")
