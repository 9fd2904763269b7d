"""Connections that send large arguments without copying them.

Before Python 3.12 an asyncio transport joins all buffers that it is given, and copies what the
socket does not take at once (fixed by https://github.com/python/cpython/pull/31871). So these
connections write each argument in chunks, which a socket mostly takes whole, and wait before the
next chunk until the transport's buffer has room. From 3.12 on, redis-py's own connections are used;
delete this module when Python 3.11 is dropped.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from typing import Any

from redis import exceptions as redis_errors

_CHUNK_BYTES = 256 << 10
_SEND_BUFFER_BYTES = 4 << 20


def chunked(connection_class: type[Any]) -> type[Any]:
    """A subclass of one of redis-py's asyncio connection classes that sends in chunks.

    It overrides a private method of redis-py 5.2 to 8; a test checks that redis-py has it.
    """

    class ChunkedConnection(connection_class):  # type: ignore[misc] # its base varies
        async def _connect(self) -> None:
            await super()._connect()
            sock = self._writer.get_extra_info("socket")
            if sock.family is socket.AF_UNIX:  # the kernel grows TCP buffers by itself
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)

        async def send_packed_command(
            self, command: Iterable[bytes], check_health: bool = True
        ) -> None:
            first, *others = _chunks(command)
            await super().send_packed_command([first], check_health)
            for chunk in others:
                if not self.is_connected:  # redis-py would send the rest on a new connection
                    raise redis_errors.ConnectionError("it was closed within a command")
                await super().send_packed_command([chunk], check_health=False)

    return ChunkedConnection


def _chunks(command: Iterable[bytes]) -> Iterator[bytes | memoryview]:
    """The parts of a command, large ones in pieces; a small command is one chunk.

    redis-py makes a part of each argument over 6,000 bytes, and to write a part takes longer than
    to copy it.
    """
    parts = list(command)
    if sum(map(len, parts)) <= _CHUNK_BYTES:
        yield b"".join(parts)
        return
    for part in parts:
        if len(part) <= _CHUNK_BYTES:
            yield part
            continue
        view = memoryview(part)
        for start in range(0, len(view), _CHUNK_BYTES):
            yield view[start : start + _CHUNK_BYTES]
