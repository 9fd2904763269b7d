"""The identity of a caller, from its address."""

from __future__ import annotations

import pytest

from forebay_gateway.admission.caller_identity import caller_of, is_tenant


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ipv4:10.0.0.7:50312", "ipv4:10.0.0.7:50313"),
        ("ipv6:%5B2001:db8::1%5D:1", "ipv6:%5B2001:db8::2%5D:2"),
        ("ipv6:%5B2001:db8::1%5D:1", "ipv6:%5B2001:db8::8000:0:0:1%5D:1"),
        ("ipv6:[2001:db8::1]:1", "ipv6:%5B2001:db8::1%5D:1"),
        ("ipv6:%5B::ffff:10.0.0.7%5D:1", "ipv4:10.0.0.7:2"),
        ("ipv6:%5Bfe80::1%25eth0%5D:1", "ipv6:%5Bfe80::1%25eth0%5D:2"),
        ("unix:", "unix:"),
    ],
)
def test_connections_of_one_host_are_one_caller(one: str, other: str) -> None:
    assert caller_of(one) == caller_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ipv4:10.0.0.7:1", "ipv4:10.0.0.8:1"),
        ("ipv4:127.0.0.1:1", "ipv4:127.0.0.1:2"),
        ("ipv6:%5B::1%5D:1", "ipv6:%5B::1%5D:2"),
        ("ipv6:%5B::ffff:127.0.0.1%5D:1", "ipv6:%5B::ffff:127.0.0.1%5D:2"),
        ("ipv6:%5B2001:db8::1%5D:1", "ipv6:%5B2001:db8:0:1::1%5D:1"),
        ("ipv6:%5B2001:db8:0:1::1%5D:1", "ipv6:%5B2001:db8:0:2::1%5D:1"),
        ("unix:/a", "unix:/b"),
    ],
)
def test_callers_are_hosts_and_on_loopback_connections(one: str, other: str) -> None:
    assert caller_of(one) != caller_of(other)


@pytest.mark.parametrize("peer", ["", "ipv4:", "nonsense", "ipv6:[::::]:1", "vsock:3:1"])
def test_a_peer_that_is_no_address_is_a_caller_by_its_name(peer: str) -> None:
    assert caller_of(peer) == peer


def test_a_tenant_is_one_caller_from_wherever_it_calls() -> None:
    here, there = "ipv4:10.0.0.7:1", "ipv4:127.0.0.1:2"
    assert caller_of(here, "acme") == caller_of(there, "acme")
    assert caller_of(here, "acme") not in (caller_of(here), caller_of(here, "other"))


def test_only_a_tenant_is_kept_from_figures_of_others() -> None:
    assert is_tenant(caller_of("ipv4:10.0.0.7:1", "acme"))
    assert not is_tenant(caller_of("ipv4:10.0.0.7:1"))
