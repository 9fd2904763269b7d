"""Addresses that only this host can reach. Pure."""

from __future__ import annotations

from ipaddress import ip_address

_SOCKETS = ("unix:", "unix-abstract:")
_ADDRESSES = ("ipv4:", "ipv6:")
_NAME = "dns:"


def is_loopback(address: str) -> bool:
    """Whether only this host can reach the address: HOST:PORT, `unix:PATH` or another gRPC URI.

    All addresses of an `ipv4:` or `ipv6:` URI must be loopback addresses.
    """
    if address.startswith(_SOCKETS):
        return True
    if address.startswith(_ADDRESSES):
        listed = address.partition(":")[2].removeprefix("///")
        return all(map(_is_loopback_host, listed.split(",")))
    if address.startswith(_NAME):
        return _is_loopback_host(address.removeprefix(_NAME).rpartition("/")[2])
    return _is_loopback_host(address)


def _is_loopback_host(address: str) -> bool:
    has_port = ":" in address and not address.endswith("]")
    host = (address.rpartition(":")[0] if has_port else address).strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
