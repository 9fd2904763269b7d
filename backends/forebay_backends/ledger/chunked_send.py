"""Connections to a ledger's server that send large arguments without copies of them.

Before Python 3.12 an asyncio transport joins all that it is given at once, and copies what the
socket does not take. So each large argument goes to it in pieces that a socket mostly
takes, the next when it has room.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

_PIECE_BYTES = 256 << 10
_SOCKET_BYTES = 4 << 20
"""How much the kernel may hold of what was sent; it permits what it is set to."""


def chunked(connection_class: type[Any]) -> type[Any]:
    """The class of redis-py's connections, with that way of sending."""

    class Unbuffered(connection_class):  # type: ignore[misc]
        async def _connect(self) -> None:
            await super()._connect()
            sock = self._writer.get_extra_info("socket")
            if sock.family is socket.AF_UNIX:  # others' buffers grow as the way needs them
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)

        async def _send_packed_command(self, command: Iterable[bytes]) -> None:
            for part in command:
                view = memoryview(part)
                for start in range(0, len(view), _PIECE_BYTES):
                    self._writer.write(view[start : start + _PIECE_BYTES])
                    await self._writer.drain()

    return Unbuffered
