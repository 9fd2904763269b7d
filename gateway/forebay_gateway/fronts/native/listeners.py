"""The sockets of a front."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from errno import EADDRNOTAVAIL, EAFNOSUPPORT
from typing import Any

from forebay_backends.settings.addresses import UNIX

NO_SUCH_ADDRESS = (EADDRNOTAVAIL, EAFNOSUPPORT)
"""Expected for some addresses of a name, such as `::1` of localhost on a host without IPv6."""


def listening_sockets(listen: str, *, reuse_port: bool) -> tuple[str, Sequence[socket.socket]]:
    """Returns the address and a listening socket for each address of the host's name.

    `listen` is HOST:PORT or `unix:PATH`; for port 0, the system chooses a free port, which the
    returned address names. Raises OSError if it can't listen.
    """
    if listen.startswith(UNIX):
        return listen, [_unix_socket(listen.removeprefix(UNIX))]
    host, _, port = listen.rpartition(":")
    sockets: list[socket.socket] = []
    try:
        for family, address in _addresses(host.strip("[]"), int(port)):
            chosen = sockets[0].getsockname()[1] if sockets else address[1]
            bound = (address[0], chosen, *address[2:])
            try:
                sockets.append(_tcp_socket(family, bound, reuse_port=reuse_port))
            except OSError as error:
                if error.errno not in NO_SUCH_ADDRESS:
                    raise
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    if not sockets:
        raise OSError(EADDRNOTAVAIL, os.strerror(EADDRNOTAVAIL))
    return f"{host}:{sockets[0].getsockname()[1]}", sockets


def _addresses(host: str, port: int) -> Iterator[tuple[socket.AddressFamily, Any]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    yield from dict.fromkeys((family, address) for family, _, _, _, address in found)


def _tcp_socket(family: socket.AddressFamily, address: Any, *, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _unix_socket(path: str) -> socket.socket:
    """Replaces a socket file that an earlier process has left, but no other file."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode) and not _is_served(path):
            os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        return True
