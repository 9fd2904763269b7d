"""Which hosts and origins get in."""

from __future__ import annotations

import pytest

from forebay_gateway.web.security import Policy, is_known_host, refusal

NAMES = frozenset({"calls.example"})
ORIGINS = ("https://app.example",)


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        ("calls.example", True),
        ("calls.example:8080", True),
        ("localhost:1", True),
        ("a.localhost", True),
        ("10.0.0.7:80", True),
        ("[2001:db8::1]:80", True),
        ("[::1]", True),
        ("", False),
        (":80", False),
        ("[::1", False),
        ("[evil.example]", False),
        ("evil.example", False),
        ("sub.calls.example", False),
        ("calls.example.", False),
        ("notlocalhost", False),
        ("10.0.0.7.evil.example", False),
    ],
)
def test_names_of_this_server_and_addresses_are_known(host: str, is_known: bool) -> None:
    assert is_known_host(host, NAMES) is is_known


def test_any_name_where_that_is_set() -> None:
    assert is_known_host("evil.example", frozenset({"*"}))
    assert not is_known_host("", frozenset({"*"}))


@pytest.mark.parametrize(
    ("headers", "is_refused"),
    [
        ({}, False),
        ({b"origin": b"https://app.example"}, False),
        ({b"origin": b"HTTPS://APP.example"}, False),
        ({b"origin": b"http://calls.example"}, False),
        ({b"origin": b"https://calls.example"}, False),
        ({b"origin": b"https://calls.example:8443"}, True),
        ({b"origin": b"http://app.example"}, True),
        ({b"origin": b"https://app.example:444"}, True),
        ({b"origin": b"null"}, True),
        ({b"origin": b"calls.example"}, True),
        ({b"sec-fetch-site": b"cross-site"}, True),
        ({b"sec-fetch-site": b"same-origin"}, False),
        ({b"sec-fetch-site": b"none"}, False),
        ({b"sec-fetch-site": b"cross-site", b"origin": b"https://app.example"}, False),
        ({b"sec-fetch-site": b"cross-site", b"origin": b"https://calls.example"}, False),
    ],
    ids=str,
)
def test_a_request_of_another_origin_is_refused(
    headers: dict[bytes, bytes], is_refused: bool
) -> None:
    problem = refusal({b"host": b"calls.example", **headers}, Policy(NAMES, ORIGINS))
    assert (problem is not None) is is_refused
