"""Identifies callers, between which limits are shared. Pure.

With authentication a caller is a tenant, from wherever it calls. Without, it is a host: the peer's
IPv4 address, or the /64 network of its IPv6 address, since one host usually gets a /64. On
loopback, each connection is a caller, since all callers there share the address. Behind a proxy,
all callers count as one, and one caller can use eight ninths of each limit.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from urllib.parse import unquote

_CONNECTIONS_REMEMBERED = 16_384
_NETWORK_BITS = 64
_TENANT = "tenant:"


def caller_of(peer: str, tenant: str = "") -> str:
    """The caller; `peer` is gRPC's, `tenant` is empty if authentication is off."""
    return _TENANT + tenant if tenant else _host_of(peer)


def is_tenant(caller: str) -> bool:
    """Whether the caller is a tenant, which must not learn how much others use."""
    return caller.startswith(_TENANT)


@lru_cache(_CONNECTIONS_REMEMBERED)
def _host_of(peer: str) -> str:
    """`peer` is gRPC's: `ipv4:10.0.0.7:50312`, `ipv6:[::1]:50312` (percent-encoded), `unix:`."""
    host, _, _ = unquote(peer.partition(":")[2]).rpartition(":")
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:  # a Unix socket's path
        return peer
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            network = IPv6Network((int(address), _NETWORK_BITS), strict=False)
            return peer if address.is_loopback else str(network)
        address = address.ipv4_mapped
    return peer if address.is_loopback else str(address)
