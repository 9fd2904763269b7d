"""Reserves a port for the servers of this gateway only, in one process or several.

SO_REUSEPORT alone lets any process of the same user share the port. So a first socket binds
and listens without it, which fails if the port is in use. A second socket, which never listens,
then holds the port: it has SO_REUSEPORT, so that our servers can join, and drops SO_REUSEADDR
after its bind, so that another gateway's first socket fails. (Linux compares the options that
the sockets have at the time of a bind or listen.)
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from errno import EADDRINUSE
from typing import Any

from forebay_gateway.fronts.native.listeners import NO_SUCH_ADDRESS
from forebay_gateway.server.errors import GatewayError, address_in_use


def can_share_port(listen: str) -> bool:
    """Whether several servers can listen on the address and each get connections."""
    return _is_linux() and not _is_path(listen)


@contextmanager
def reserved_port(listen: str, option: str = "--listen") -> Iterator[str]:
    """Reserves HOST:PORT for servers with SO_REUSEPORT; yields it, with a free port in place of 0.

    `option` is the command's option that sets the address, for the error message. Raises
    GatewayError if the port is in use, or the address can't be shared.
    """
    host, _, port = listen.rpartition(":")
    if _is_path(listen):
        raise GatewayError(
            f"{listen} can't be shared by processes: listen on HOST:PORT, or set processes to 1"
        )
    if not _is_linux():
        raise GatewayError("several processes can share a port only on Linux: set processes to 1")
    with ExitStack() as stack:
        chosen = int(port)
        is_reserved = False
        for family, address in _addresses(listen):
            try:
                holder = _reserve(family, (address[0], chosen, *address[2:]))
            except OSError as error:
                if error.errno in NO_SUCH_ADDRESS:
                    continue
                if error.errno == EADDRINUSE:
                    raise address_in_use(listen, option) from error
                raise GatewayError(f"can't listen on {listen}: {error.strerror}") from error
            chosen = stack.enter_context(holder).getsockname()[1]
            is_reserved = True
        if not is_reserved:
            raise GatewayError(f"can't listen on {listen}: this host has no such address")
        yield f"{host}:{chosen}"


def _is_linux() -> bool:
    # On other systems the newest socket gets all connections.
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


def _reserve(
    family: socket.AddressFamily, address: tuple[str, int, *tuple[int, ...]]
) -> socket.socket:
    with socket.socket(family, socket.SOCK_STREAM) as first:
        # An earlier gateway's connections in TIME_WAIT must not block the port.
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind(address)
        first.listen()  # with SO_REUSEADDR two sockets may bind, but only one may listen
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder = socket.socket(family, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(first.getsockname())
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return holder
