"""A way to a gateway on which the first connection breaks in the middle of a stream."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

_BUFFER_BYTES = 1 << 14


@dataclass
class Way:
    """The address that leads to the gateway, and how many connections were made."""

    address: str
    connections: int = 0


@contextlib.contextmanager
def first_connection_cut(
    gateway: str, after_bytes: int | None = None, after_sent_bytes: int | None = None
) -> Iterator[Way]:
    """Passes connections on; the first is cut after so many bytes from, or to, the gateway."""
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as sockets:
        way = Way(f"127.0.0.1:{server.getsockname()[1]}")

        def accept() -> None:
            with contextlib.suppress(OSError):  # the block is left
                while True:
                    caller = sockets.enter_context(server.accept()[0])
                    host, _, port = gateway.rpartition(":")
                    to_gateway = sockets.enter_context(socket.create_connection((host, int(port))))
                    is_first = way.connections == 0
                    way.connections += 1
                    for source, target, limit in (
                        (caller, to_gateway, after_sent_bytes),
                        (to_gateway, caller, after_bytes),
                    ):
                        ends = (source, target, limit if is_first else None)
                        threading.Thread(target=_pass_on, args=ends, daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield way
        server.shutdown(socket.SHUT_RDWR)
        accepting.join()


def _pass_on(source: socket.socket, target: socket.socket, limit: int | None) -> None:
    """Passes bytes on until either side closes, or until the limit."""
    passed = 0
    with contextlib.suppress(OSError):
        while (limit is None or passed < limit) and (data := source.recv(_BUFFER_BYTES)):
            target.sendall(data)
            passed += len(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
