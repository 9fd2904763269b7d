"""Keeping a port for servers that share it, of one process or several, and for nobody else.

SO_REUSEPORT lets any process of the same user in. So the port is first taken for one
socket alone, which fails where anybody has it; a socket that never listens then keeps it, in a
state in which others can't do the same: they fail, like a gateway that wants the port for itself.
(What Linux holds against a socket is what others on the port have set when it binds or listens.)
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from errno import EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT
from typing import Any

from forebay_gateway.server.errors import GatewayError, cannot_listen

_NOT_HERE = (EADDRNOTAVAIL, EAFNOSUPPORT)
"""How an address of a name fails that this host does not have, such as `::1` of localhost."""


def can_be_shared(listen: str) -> bool:
    """Whether several servers can listen there, and get connections each."""
    return _is_linux() and not _is_path(listen)


@contextmanager
def kept_port(listen: str) -> Iterator[str]:
    """Keeps HOST:PORT for SO_REUSEPORT; yields it, with the port chosen where that was 0.

    Raises GatewayError.
    """
    host, _, port = listen.rpartition(":")
    if _is_path(listen):
        raise GatewayError(f"{listen} can't be shared by processes: listen on HOST:PORT, or by one")
    if not _is_linux():
        raise GatewayError("several processes on one port are for Linux: set processes to 1")
    with ExitStack() as stack:
        chosen = int(port)
        is_kept = False
        for family, address in _addresses(listen):
            try:
                keeper = _kept(family, (address[0], chosen, *address[2:]))
            except OSError as error:
                if error.errno in _NOT_HERE:
                    continue
                if error.errno == EADDRINUSE:
                    raise cannot_listen(listen) from error
                raise GatewayError(f"can't listen on {listen}: {error.strerror}") from error
            chosen = stack.enter_context(keeper).getsockname()[1]
            is_kept = True
        if not is_kept:
            raise GatewayError(f"can't listen on {listen}: this host has no such address")
        yield f"{host}:{chosen}"


def _is_linux() -> bool:
    """Elsewhere the newest socket gets all connections."""
    return sys.platform == "linux"


def _is_path(listen: str) -> bool:
    return listen.startswith(("unix:", "unix-abstract:", "vsock:"))


def _addresses(listen: str) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    host, _, port = listen.rpartition(":")
    try:
        found = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise GatewayError(f"can't listen on {listen}: {error.strerror}") from error
    return [(family, address) for family, _, _, _, address in found]


def _kept(
    family: socket.AddressFamily, address: tuple[str, int, *tuple[int, ...]]
) -> socket.socket:
    with socket.socket(family, socket.SOCK_STREAM) as alone:
        # Connections of an earlier gateway that are not quite over are in nobody's way.
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(address)
        alone.listen()  # two sockets may be bound so; it is the listening that only one may
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        keeper = socket.socket(family, socket.SOCK_STREAM)
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        keeper.bind(alone.getsockname())
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return keeper
