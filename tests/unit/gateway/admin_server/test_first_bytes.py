"""Who serves a connection of the operators' port."""

from __future__ import annotations

import pytest

from forebay_gateway.admin_server.first_bytes import HTTP2, request_of


@pytest.mark.parametrize(
    ("data", "request_"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP2),
        (b"GET /metrics?name[]=x HTTP/1.1\r\n", "/metrics"),
        (b"POST /a/b HTTP/1.0\r\nHost: h\r\n\r\n", "/a/b"),
        (b"nonsense\r\n", ""),
        (b"\xff\xfe\r\n", ""),
        (b"x" * 10_000, ""),
        (b"PRI * HTTP/2", None),
        (b"GET /metri", None),
        (b"", None),
    ],
)
def test_the_first_line_tells(data: bytes, request_: str | None) -> None:
    assert request_of(data) == request_
