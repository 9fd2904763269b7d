"""JSON, envelopes, gzip and statuses."""

from __future__ import annotations

import json
import zlib
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2, struct_pb2, wrappers_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from forebay.compute.v1 import compute_pb2
from forebay.errors import InternalFault, InvalidRequest, MethodUnknown, TooLarge
from forebay.errors.status import STATUS_DETAILS_KEY
from forebay_gateway.web.codecs import from_json, to_json
from forebay_gateway.web.compression import accepts_gzip, compressed, decompressed
from forebay_gateway.web.connect.errors import HTTP_STATUS, code_name, error_object
from forebay_gateway.web.connect.head import read_timeout
from forebay_gateway.web.context import Status
from forebay_gateway.web.envelopes import envelope, only_envelope

LIMIT = 1_000_000


def test_json_goes_both_ways() -> None:
    binary = from_json(b' {"n": "7", "unknown": [1]} ', compute_pb2.FactorialRequest)
    assert binary == compute_pb2.FactorialRequest(n=7).SerializeToString()
    assert to_json(binary, compute_pb2.FactorialRequest) == b'{"n": "7"}'
    assert from_json(b"", compute_pb2.FactorialRequest) == b""


def test_well_known_types_have_forms_of_their_own() -> None:
    assert from_json(b"[1]", struct_pb2.ListValue) != b""
    assert (
        from_json(b'"a"', wrappers_pb2.StringValue)
        == wrappers_pb2.StringValue(value="a").SerializeToString()
    )


@pytest.mark.parametrize(
    "text", [b"[]", b"1", b"null", b'"', b"{", b'{"n": "x"}', b"\xff", b"[" * 9999]
)
def test_what_is_no_message_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"FactorialRequest message in JSON"):
        from_json(text, compute_pb2.FactorialRequest)


def test_a_response_of_an_unknown_type_is_our_fault() -> None:
    unknown = any_pb2.Any(type_url="type.googleapis.com/no.such.Type", value=b"x")
    with pytest.raises(InternalFault, match=r"google.protobuf.Any, can't be written as JSON"):
        to_json(unknown.SerializeToString(), any_pb2.Any)


def test_a_response_that_is_no_message_is_our_fault() -> None:
    with pytest.raises(InternalFault, match=r"google.protobuf.Any, can't be written as JSON"):
        to_json(b"\xff", any_pb2.Any)


@given(st.binary(max_size=300), st.integers(0, 255))
def test_an_envelope_holds_its_message(data: bytes, flags: int) -> None:
    assert only_envelope(envelope(flags, data)) == (flags, data)


@given(st.binary(min_size=1, max_size=40))
def test_anything_else_is_no_envelope(body: bytes) -> None:
    try:
        found = only_envelope(body)
    except InvalidRequest:
        return
    assert found is not None
    assert envelope(*found) == body


@pytest.mark.parametrize(
    ("accepted", "is_accepted"),
    [
        (b"", False),
        (b"br", False),
        (b"gzip", True),
        (b"br, GZIP;q=0.5", True),
        (b"gzip;q=1.0", True),
        (b"gzip;q=0", False),
        (b"gzip; q=0.000", False),
        (b"xgzip", False),
    ],
)
def test_what_accepts_gzip(accepted: bytes, is_accepted: bool) -> None:
    assert accepts_gzip(accepted) is is_accepted


@pytest.mark.parametrize("size", [0, 5, 100_000, LIMIT])
async def test_gzip_goes_both_ways(size: int) -> None:
    packed = await compressed(bytes(size))
    assert await decompressed(packed, b"gzip", LIMIT) == bytes(size)
    assert zlib.decompress(packed, 31) == bytes(size)


async def test_what_can_not_be_decompressed_is_refused() -> None:
    packed = await compressed(bytes(LIMIT + 1))
    with pytest.raises(TooLarge):
        await decompressed(packed, b"gzip", LIMIT)
    for broken in (packed[:-5], b"x" + packed, b""):
        with pytest.raises(InvalidRequest):
            await decompressed(broken, b"gzip", 2 * LIMIT)
    with pytest.raises(MethodUnknown, match="'br' is not supported"):
        await decompressed(b"", b"br", LIMIT)
    assert await decompressed(b"as it is", b"identity", LIMIT) == b"as it is"


def test_every_code_has_a_name_and_a_status_of_http() -> None:
    codes = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
    assert set(codes) == HTTP_STATUS.keys()
    assert code_name(grpc.StatusCode.CANCELLED) == "canceled"
    assert code_name(grpc.StatusCode.DEADLINE_EXCEEDED) == "deadline_exceeded"


def test_an_error_has_the_details_of_the_trailing_metadata() -> None:
    rich = status_pb2.Status(code=5, message="no")
    rich.details.add().Pack(error_details_pb2.ErrorInfo(reason="R"))
    trailing: Any = ((STATUS_DETAILS_KEY, rich.SerializeToString()),)
    error = error_object(Status(grpc.StatusCode.NOT_FOUND, "no", trailing))
    assert error == {
        "code": "not_found",
        "message": "no",
        "details": [{"type": "google.rpc.ErrorInfo", "value": "CgFS"}],
    }
    json.dumps(error)
    broken: Any = ((STATUS_DETAILS_KEY, b"\xff"),)
    assert error_object(Status(grpc.StatusCode.UNKNOWN, "", broken)) == {"code": "unknown"}


def test_timeouts_of_connect() -> None:
    assert read_timeout({}) is None
    assert read_timeout({b"connect-timeout-ms": b"1500"}) == 1.5
    assert read_timeout({b"connect-timeout-ms": b"0"}) == 0
    for value in (b"", b"-1", b"1.5", b"+1", b"12345678901", b"\xb2"):
        with pytest.raises(InvalidRequest):
            read_timeout({b"connect-timeout-ms": value})
