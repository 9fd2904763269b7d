"""Failures between client and gateway, and a gateway's own failures."""

from __future__ import annotations

import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors.status import from_status, to_status
from forebay.resume.transport_errors import Retry, is_transport_error, retry_of
from forebay.v1 import call_pb2
from forebay_backends.ledger.outcome import error_of_outcome

STREAM_RESET = "Stream removed (RST_STREAM (Received RST_STREAM with error code {}))"
NO_TRAILERS = "Stream removed (Data frame with END_STREAM flag received)"
HTTP = "Received http2 header with status: {}"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        # a direct connection
        (code_pb2.UNAVAILABLE, "failed to connect to all addresses"),
        (code_pb2.UNAVAILABLE, "Socket closed"),
        (code_pb2.INTERNAL, "Internal error from Core"),
        # nginx, and Envoy for the last: no gateway, a silent one, a lost one.
        (code_pb2.UNAVAILABLE, HTTP.format(502)),
        (code_pb2.UNAVAILABLE, HTTP.format(504)),
        (code_pb2.INTERNAL, STREAM_RESET.format(2)),
        # HAProxy: no gateway, a lost one before its headers, after them, while the client sends.
        (code_pb2.UNAVAILABLE, HTTP.format(503)),
        (code_pb2.UNAVAILABLE, STREAM_RESET.format(7)),
        (code_pb2.UNKNOWN, NO_TRAILERS),
        (code_pb2.CANCELLED, STREAM_RESET.format(8)),
        # Envoy: no gateway.
        (code_pb2.UNAVAILABLE, "upstream connect error or disconnect/reset before headers"),
        # Other proxies and load balancers.
        (code_pb2.UNKNOWN, HTTP.format(500)),
        (code_pb2.UNKNOWN, HTTP.format(520)),
        (code_pb2.UNKNOWN, HTTP.format(408)),
        (code_pb2.UNAVAILABLE, HTTP.format(429)),
    ],
)
def test_a_transport_failure_permits_a_retry_of_any_call(code: int, message: str) -> None:
    assert retry_of(from_status(code, message, None)) is Retry.ANY


def test_a_proxys_limit_on_duration_permits_calls_with_an_id_to_attach_again() -> None:
    error = from_status(code_pb2.DEADLINE_EXCEEDED, "downstream duration timeout", None)
    assert retry_of(error) is Retry.ATTACHING


@pytest.mark.parametrize(
    ("code", "message"),
    [
        # The request is rejected.
        (code_pb2.UNKNOWN, HTTP.format(413)),
        (code_pb2.INTERNAL, HTTP.format(400)),
        (code_pb2.UNAUTHENTICATED, HTTP.format(401)),
        (code_pb2.PERMISSION_DENIED, HTTP.format(403)),
        (code_pb2.UNIMPLEMENTED, HTTP.format(404)),
        # A limit of gRPC's own.
        (code_pb2.RESOURCE_EXHAUSTED, "Received message larger than max (5 vs. 4)"),
        (code_pb2.RESOURCE_EXHAUSTED, STREAM_RESET.format(11)),
        # The caller's own code raised.
        (code_pb2.UNKNOWN, "Exception iterating requests!"),
        (code_pb2.INTERNAL, "Exception serializing request!"),
        (code_pb2.INTERNAL, "Exception deserializing response!"),
        # No transport sends these.
        (code_pb2.INVALID_ARGUMENT, ""),
        (code_pb2.NOT_FOUND, ""),
        (code_pb2.ALREADY_EXISTS, ""),
        (code_pb2.FAILED_PRECONDITION, ""),
        (code_pb2.ABORTED, ""),
        (code_pb2.OUT_OF_RANGE, ""),
        (code_pb2.DATA_LOSS, ""),
    ],
)
def test_a_failure_that_a_retry_would_meet_again_is_final(code: int, message: str) -> None:
    assert not is_transport_error(from_status(code, message, None))


def test_a_proxys_retry_info_permits_any_call_to_be_retried() -> None:
    retry = any_pb2.Any()
    retry.Pack(error_details_pb2.RetryInfo(retry_delay={"seconds": 1}))
    status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, details=[retry])
    assert retry_of(from_status(status.code, "", status)) is Retry.ANY


def details() -> st.SearchStrategy[any_pb2.Any]:
    def packed(message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest) -> any_pb2.Any:
        detail = any_pb2.Any()
        detail.Pack(message)
        return detail

    names = st.sampled_from(["", "tea"])
    messages = [
        st.builds(error_details_pb2.ErrorInfo, reason=names, domain=names),
        st.builds(error_details_pb2.RetryInfo),
        st.builds(error_details_pb2.BadRequest),
    ]
    return st.one_of(messages).map(packed) | st.just(any_pb2.Any(type_url="x/y", value=b"\xff"))


@given(st.integers(1, 16), st.sampled_from(["", NO_TRAILERS, "Socket closed"]), st.lists(details()))
def test_no_status_of_a_handler_looks_like_a_transport_error(
    code: int, message: str, given_details: list[any_pb2.Any]
) -> None:
    status = status_pb2.Status(code=code, message=message, details=given_details)
    outcome = call_pb2.Outcome(code=code, message=message, details=status.SerializeToString())
    error = error_of_outcome(outcome)
    assert error is not None
    sent = to_status(error)
    assert not is_transport_error(from_status(sent.code, sent.message, sent))
