"""Addresses that only this host can reach."""

from __future__ import annotations

import pytest

from forebay.loopback import is_loopback


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:50051",
        "127.8.9.10:1",
        "localhost:50051",
        "localhost",
        "[::1]:50051",
        "[::1]",
        "unix:/run/forebay.sock",
        "unix:///run/forebay.sock",
        "unix-abstract:forebay",
        "dns:localhost:50051",
        "dns:///localhost:50051",
        "ipv4:127.0.0.1:50051,127.0.0.2:50051",
        "ipv6:[::1]:50051",
        "ipv6:///[::1]:50051",
    ],
)
def test_these_are_of_this_host(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.7:50051",
        "0.0.0.0:50051",
        "[::]:50051",
        "gateway.example:50051",
        "localhost.example:50051",
        "127.0.0.1.example:50051",
        "[2001:db8::1]:50051",
        "dns:///gateway.example:50051",
        "dns://127.0.0.1/gateway.example:50051",
        "ipv4:127.0.0.1:50051,10.0.0.7:50051",
        "ipv4:10.0.0.7:50051",
        "vsock:1:2",
        "xds:///gateway",
        "",
    ],
)
def test_these_may_be_of_others(address: str) -> None:
    assert not is_loopback(address)
