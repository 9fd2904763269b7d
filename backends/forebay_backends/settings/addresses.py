"""Addresses to listen on. Pure."""

from __future__ import annotations

from forebay.loopback import is_loopback

__all__ = ["is_host_and_port", "is_loopback", "is_socket_path"]

UNIX = "unix:"
_LONGEST_PATH = 100
"""In bytes; Linux allows 107."""


def is_host_and_port(address: str) -> bool:
    """Whether the address is HOST:PORT, such as `127.0.0.1:50051` or `[::1]:0`."""
    host, colon, port = address.rpartition(":")
    return bool(colon and host and port.isdecimal() and int(port) < 65536)


def is_socket_path(address: str) -> bool:
    """Whether the address is `unix:PATH` with a path of a length that a Unix socket can have."""
    path = address.removeprefix(UNIX)
    return path not in ("", address) and len(path.encode()) <= _LONGEST_PATH
