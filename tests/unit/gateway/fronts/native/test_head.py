"""Headers of requests, and metadata as headers."""

from __future__ import annotations

import pytest
from grpc import StatusCode

from forebay_gateway.fronts.native.head import (
    NoGrpcRequest,
    RpcError,
    metadata_headers,
    read_head,
    status_headers,
)
from tests.faults.raw_http2 import Header, request_headers


def with_(*more: Header) -> list[Header]:
    given = {key for key, _ in more}
    return [header for header in request_headers(b"/a/b") if header[0] not in given] + list(more)


def refusal(*more: Header) -> StatusCode:
    with pytest.raises(RpcError) as raised:
        read_head(with_(*more))
    return raised.value.code


def test_grpcs_own_headers_are_no_metadata() -> None:
    head = read_head(
        with_(
            (b"grpc-encoding", b"gzip"),
            (b"grpc-accept-encoding", b"identity"),
            (b"grpc-timeout", b"5S"),
            (b"user-agent", b"x"),
            (b"grpc-trace-bin", b"AAE"),
        )
    )
    assert (head.path, head.encoding, head.timeout_s) == ("/a/b", b"gzip", 5.0)
    assert head.metadata == [("user-agent", "x"), ("grpc-trace-bin", b"\0\1")]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"3S", 3.0),
        (b"4m", 0.004),
        (b"5u", 0.000005),
        (b"6n", 6e-9),
        (b"0S", 0.0),
        (b"99999999999999999999H", 10 * 365 * 86_400.0),
    ],
)
def test_timeouts_have_units_and_an_upper_bound(text: bytes, seconds: float) -> None:
    assert read_head(with_((b"grpc-timeout", text))).timeout_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", [b"", b"1", b"S", b"-1S", b"+1S", b"1s", b" 1S", b"1.5S", b"\xb2S"]
)
def test_what_is_no_timeout_is_an_invalid_argument(text: bytes) -> None:
    assert refusal((b"grpc-timeout", text)) is StatusCode.INVALID_ARGUMENT


def test_text_that_is_no_utf8_is_read_byte_by_byte() -> None:
    head = read_head(with_((b"a", "ü".encode()), (b"b", b"\xff"), (b":path", b"/\xff")))
    assert head.metadata == [("a", "ü"), ("b", "\xff")]
    assert head.path == "/\xff"


@pytest.mark.parametrize("value", [b"!!", b"A", b"AA=A", "ü".encode()])
def test_what_is_no_base64_is_an_invalid_argument(value: bytes) -> None:
    assert refusal((b"a-bin", value)) is StatusCode.INVALID_ARGUMENT


def test_too_much_metadata_is_refused_by_its_size_in_http2() -> None:
    rest = sum(len(key) + len(value) + 32 for key, value in request_headers(b"/a/b"))
    room = 16_384 - rest - 33
    read_head(with_((b"a", b"x" * room)))
    assert refusal((b"a", b"x" * (room + 1))) is StatusCode.RESOURCE_EXHAUSTED
    assert refusal(*((b"a", b"") for _ in range(600))) is StatusCode.RESOURCE_EXHAUSTED


def test_an_unknown_encoding_is_unimplemented() -> None:
    assert refusal((b"grpc-encoding", b"zstd")) is StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ((b":method", b"GET"), b"405"),
        ((b"content-type", b"text/html"), b"415"),
        ((b"content-type", b""), b"415"),
    ],
)
def test_other_requests_get_an_http_status(header: Header, status: bytes) -> None:
    with pytest.raises(NoGrpcRequest) as raised:
        read_head(with_(header))
    assert raised.value.status == status


def test_metadata_is_text_or_base64_without_padding() -> None:
    pairs = (("a", "x y"), ("b-bin", b"\0"), ("c", b"bytes"), ("a", ""))
    assert metadata_headers(pairs) == [
        (b"a", b"x y"),
        (b"b-bin", b"AA"),
        (b"c", b"bytes"),
        (b"a", b""),
    ]


@pytest.mark.parametrize(
    "pair", [("A", "x"), ("a b", "x"), ("", "x"), (":path", "x"), ("a", "x\n"), ("a", "ü")]
)
def test_what_is_no_metadata_is_an_error(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"metadata key|printable"):
        metadata_headers((pair,))


def test_messages_of_statuses_are_percent_encoded() -> None:
    headers = status_headers(StatusCode.NOT_FOUND, "100% ü\n~", [(b"a", b"b")])
    assert headers == [
        (b"grpc-status", b"5"),
        (b"grpc-message", b"100%25 %C3%BC%0A~"),
        (b"a", b"b"),
    ]
    assert status_headers(StatusCode.OK, "", []) == [(b"grpc-status", b"0")]
