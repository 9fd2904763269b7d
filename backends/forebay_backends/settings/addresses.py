"""Addresses to listen on. Pure."""

from __future__ import annotations

from ipaddress import ip_address

_UNIX = "unix:"
_LONGEST_PATH = 100
"""Bytes; the kernel takes 107."""


def is_host_and_port(address: str) -> bool:
    """Whether it is HOST:PORT, such as `127.0.0.1:50051` or `[::1]:0`."""
    host, colon, port = address.rpartition(":")
    return bool(colon and host and port.isdecimal() and int(port) < 65536)


def is_socket_path(address: str) -> bool:
    """Whether it is `unix:PATH` with a path that a Unix socket can have."""
    path = address.removeprefix(_UNIX)
    return path not in ("", address) and len(path.encode()) <= _LONGEST_PATH


def is_loopback(address: str) -> bool:
    """Whether only this host can reach the address."""
    if address.startswith(_UNIX):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
