"""Headers to metadata, and back."""

from __future__ import annotations

import pytest

from forebay.errors import InvalidRequest, TooLarge
from forebay_gateway.web.metadata import request_metadata, response_headers


def test_headers_of_http_browsers_and_protocols_are_no_metadata() -> None:
    headers = [
        (b"host", b"x"),
        (b"cookie", b"secret"),
        (b"origin", b"x"),
        (b"sec-fetch-mode", b"cors"),
        (b"content-type", b"application/json"),
        (b"connect-timeout-ms", b"1"),
        (b"grpc-timeout", b"1S"),
        (b"authorization", b"Bearer t"),
        (b"user-agent", b"u"),
        (b"forebay-call-id", b"c"),
        (b"traceparent", b"t"),
    ]
    kept = [key for key, _ in request_metadata(headers)]
    assert kept == ["authorization", "user-agent", "forebay-call-id", "traceparent"]


def test_values_are_text_or_bytes() -> None:
    headers = [(b"a", "ü".encode()), (b"a", b"\xff"), (b"b-bin", b"AP8, AQ=="), (b"c-bin", b"")]
    assert request_metadata(headers) == [
        ("a", "ü"),
        ("a", "ÿ"),
        ("b-bin", b"\x00\xff"),
        ("b-bin", b"\x01"),
        ("c-bin", b""),
    ]


def test_what_is_no_base64_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="header a-bin is not base64"):
        request_metadata([(b"a-bin", b"!")])


def test_as_much_metadata_as_by_grpc_is_taken() -> None:
    assert len(request_metadata([(b"a", b"x" * 16_000)])) == 1
    with pytest.raises(TooLarge, match="at most 16384 are accepted"):
        request_metadata([(b"a", b"x" * 16_384)])


@pytest.mark.parametrize(
    "key",
    [
        *("content-type", "content-length", "transfer-encoding", "connection", "set-cookie"),
        *("access-control-allow-origin", "location", "grpc-status", "trailer-x", "refresh"),
        *("strict-transport-security", "www-authenticate", "clear-site-data", "vary"),
    ],
)
def test_metadata_of_handlers_decides_nothing_of_http(key: str) -> None:
    assert response_headers(((key, "x"), ("own", "y"))) == [(b"own", b"y")]


def test_metadata_of_handlers_is_written_as_grpc_does() -> None:
    assert response_headers((("a", "x"), ("b-bin", b"\xff")), b"trailer-") == [
        (b"trailer-a", b"x"),
        (b"trailer-b-bin", b"/w"),
    ]
    for pair in (("A", "x"), ("a", "x\r\ny: z"), ("a b", "x")):
        with pytest.raises(ValueError, match=r"metadata|printable ASCII"):
            response_headers((pair,))
